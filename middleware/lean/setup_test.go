package lean

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maker returns the transport under test; change adjusts its settings.
type maker func(t *testing.T, upstream string, change func(*http.Transport)) http.RoundTripper

// both runs a test with net/http's transport and with this one, which must behave
// in the same way.
func both(t *testing.T, test func(t *testing.T, newTransport maker)) {
	t.Helper()
	t.Run("net/http", func(t *testing.T) {
		test(t, func(t *testing.T, _ string, change func(*http.Transport)) http.RoundTripper {
			return settings(t, change)
		})
	})
	t.Run("lean", func(t *testing.T) {
		test(t, func(t *testing.T, upstream string, change func(*http.Transport)) http.RoundTripper {
			return newLean(t, upstream, change)
		})
	})
}

func newLean(t testing.TB, upstream string, change func(*http.Transport)) *Transport {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	transport := New(Config{Upstream: u, Fallback: settings(t, change)})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func settings(t testing.TB, change func(*http.Transport)) *http.Transport {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	if change != nil {
		change(transport)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// upstream is a server that sends raw bytes.
type upstream struct {
	url      string
	accepted atomic.Int64
	requests atomic.Int64
	ended    chan struct{} // one for each connection that the client closed

	mu    sync.Mutex
	conns []net.Conn
}

// newUpstream serves each connection with serve and closes it afterwards.
func newUpstream(t testing.TB, serve func(o *upstream, c net.Conn, r *bufio.Reader)) *upstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &upstream{url: "http://" + listener.Addr().String(), ended: make(chan struct{}, 1000)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			o.accepted.Add(1)
			o.mu.Lock()
			o.conns = append(o.conns, c)
			o.mu.Unlock()
			running.Go(func() {
				defer c.Close()
				serve(o, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		o.closeConns()
		running.Wait()
	})
	return o
}

func (o *upstream) closeConns() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		c.Close()
	}
	o.conns = nil
}

// next reads a request; false means that the client closed the connection.
func (o *upstream) next(r *bufio.Reader) bool {
	if _, err := http.ReadRequest(r); err != nil {
		o.ended <- struct{}{}
		return false
	}
	o.requests.Add(1)
	return true
}

// clientClosed waits until the client closed a connection.
func (o *upstream) clientClosed(t *testing.T) {
	t.Helper()
	select {
	case <-o.ended:
	case <-time.After(5 * time.Second):
		t.Error("timed out waiting for the client to close its connection")
	}
}

// always sends the same bytes to every request.
func always(answer string, closes bool) func(*upstream, net.Conn, *bufio.Reader) {
	return func(o *upstream, c net.Conn, r *bufio.Reader) {
		for o.next(r) {
			if _, err := io.WriteString(c, answer); err != nil || closes {
				return
			}
		}
	}
}

func request(ctx context.Context, t testing.TB, method, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask sends a request and describes the response or error.
func ask(ctx context.Context, t testing.TB, transport http.RoundTripper, method, target string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return describe(transport.RoundTrip(request(ctx, t, method, target)))
}

// describe reads a response and describes it, or the error.
func describe(res *http.Response, err error) string {
	if err != nil {
		return kind(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	text := fmt.Sprintf("%d %q", res.StatusCode, body)
	if res.ContentLength >= 0 && res.ContentLength != int64(len(body)) {
		text += fmt.Sprintf(" of %d", res.ContentLength)
	}
	if len(res.Trailer) > 0 {
		text += fmt.Sprintf(" %v", res.Trailer)
	}
	if err != nil {
		text += " " + kind(err)
	}
	return text
}

// kind describes what callers can learn from an error.
func kind(err error) string {
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &op) && op.Op == "dial":
		return "dial"
	case errors.As(err, &timeout) && timeout.Timeout() && errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected EOF"
	case errors.Is(err, io.EOF):
		return "EOF"
	case errors.As(err, &op):
		return "broken"
	default:
		return "invalid"
	}
}
