package storetest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards TCP connections. It can delay or drop what the server sends.
type Proxy struct {
	Addr string

	target string
	closed chan struct{}
	delay  atomic.Int64 // of new connections, nanoseconds

	mu    sync.Mutex
	links map[*link]struct{}
}

// link is one forwarded connection.
type link struct {
	client, server net.Conn
	delay          atomic.Int64
	broken         atomic.Bool
}

// StartProxy starts a proxy to target on a free loopback port. It ends with the
// test.
func StartProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed by Cleanup
	if err != nil {
		tb.Fatalf("starting a proxy: %v", err)
	}
	p := &Proxy{
		Addr:   listener.Addr().String(),
		target: target,
		closed: make(chan struct{}),
		links:  make(map[*link]struct{}),
	}
	var running sync.WaitGroup
	tb.Cleanup(func() {
		close(p.closed)
		_ = listener.Close() // only ends Accept
		p.mu.Lock()
		for l := range p.links {
			l.close()
		}
		p.mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	return p
}

// Delay delays every reply by d, on open and on new connections.
func (p *Proxy) Delay(d time.Duration) {
	p.delay.Store(int64(d))
	p.DelayOpen(d)
}

// DelayOpen delays replies by d on the connections that are open now.
func (p *Proxy) DelayOpen(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.delay.Store(int64(d))
	}
}

// BreakOpen closes each connection that is open now when its next reply arrives.
// The reply is lost: the server has done what it was asked, and the client does
// not learn of it.
func (p *Proxy) BreakOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.broken.Store(true)
	}
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target) //nolint:noctx // loopback connects at once
	if err != nil {
		_ = client.Close() // as if the server had refused it
		return
	}
	l := &link{client: client, server: server}
	if !p.add(l) {
		return
	}
	var requests sync.WaitGroup
	requests.Go(func() {
		defer l.close()
		_, _ = io.Copy(server, client) // ends with either connection
	})
	p.replies(l)
	requests.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// add registers a link. It returns false if the proxy was closed.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		l.close()
		return false
	default:
	}
	l.delay.Store(p.delay.Load())
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) replies(l *link) {
	defer l.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := l.server.Read(buf)
		if l.broken.Load() {
			return
		}
		if d := time.Duration(l.delay.Load()); d > 0 {
			select {
			case <-time.After(d):
			case <-p.closed:
				return
			}
		}
		if _, werr := l.client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (l *link) close() {
	_, _ = l.client.Close(), l.server.Close()
}
