// Package lean is an [http.RoundTripper] for the common request of a reverse
// proxy: no body, no upgrade, to one upstream over plain HTTP/1.1. It makes the
// whole exchange on the caller's goroutine, whereas [http.Transport] has two
// goroutines for each connection and wakes both for each request. Every other
// request goes to an [http.Transport].
package lean

import (
	"context"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"
)

// Config configures a Transport. Both fields are required.
type Config struct {
	// Upstream has the scheme and host of the one server whose requests are made
	// here. A request to any other host goes to Fallback.
	Upstream *url.URL
	// Fallback makes all other requests. Its DialContext, ResponseHeaderTimeout,
	// IdleConnTimeout, MaxIdleConns, MaxIdleConnsPerHost,
	// MaxResponseHeaderBytes, ReadBufferSize and WriteBufferSize apply to both,
	// but the connections are not shared. If it has settings that this package
	// does not implement (a Proxy, MaxConnsPerHost, DisableKeepAlives,
	// transparent compression, Dial, Protocols), it makes every request.
	Fallback *http.Transport
}

// Transport implements [http.RoundTripper]. It is safe for concurrent use.
type Transport struct {
	host          string // as requests name it
	address       string // to dial, host:port
	enabled       bool   // false if every request goes to fallback
	fallback      *http.Transport
	dial          func(ctx context.Context, network, address string) (net.Conn, error)
	headerTimeout time.Duration // 0 means none
	headerLimit   int64         // bytes
	idle          pool
}

// defaultHeaderLimit is net/http's limit for a response's header, in bytes.
const defaultHeaderLimit = 10 << 20

// New returns a Transport. The Fallback must not be changed afterwards.
func New(cfg Config) *Transport {
	f := cfg.Fallback
	t := &Transport{
		host:          cfg.Upstream.Host,
		address:       address(cfg.Upstream),
		enabled:       idleChecked && implemented(cfg),
		fallback:      f,
		dial:          f.DialContext,
		headerTimeout: f.ResponseHeaderTimeout,
		headerLimit:   f.MaxResponseHeaderBytes,
		idle:          pool{limit: idleLimit(f), timeout: f.IdleConnTimeout},
	}
	if t.dial == nil {
		t.dial = new(net.Dialer).DialContext
	}
	if t.headerLimit <= 0 {
		t.headerLimit = defaultHeaderLimit
	}
	return t
}

// implemented reports whether this package implements the settings of
// cfg.Fallback.
func implemented(cfg Config) bool {
	f := cfg.Fallback
	return cfg.Upstream.Scheme == "http" && cfg.Upstream.Host != "" && isASCII(cfg.Upstream.Host) &&
		f.Proxy == nil && f.MaxConnsPerHost == 0 && !f.DisableKeepAlives && f.DisableCompression &&
		f.Dial == nil && f.Protocols == nil //nolint:staticcheck // Dial is deprecated, but net/http honours it.
}

func address(upstream *url.URL) string {
	port := upstream.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(upstream.Hostname(), port)
}

// idleLimit is how many idle connections f would keep for one host. A negative
// limit keeps none.
func idleLimit(f *http.Transport) int {
	limit := f.MaxIdleConnsPerHost
	if limit == 0 {
		limit = http.DefaultMaxIdleConnsPerHost
	}
	if f.MaxIdleConns > 0 {
		limit = min(limit, f.MaxIdleConns)
	}
	return limit
}

// CloseIdleConnections closes the connections that are idle now, those of the
// Fallback too. It does not interrupt requests in flight.
func (t *Transport) CloseIdleConnections() {
	t.idle.closeAll()
	t.fallback.CloseIdleConnections()
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.serves(req) {
		return t.fallback.RoundTrip(req)
	}
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(t.address)
	}
	c := t.idle.get()
	if c != nil {
		res, err := t.exchange(c, req, trace)
		if err == nil || !c.mayRetry(req) {
			return res, err
		}
	}
	// A failure on a fresh connection is not retried.
	c, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	return t.exchange(c, req, trace)
}

func (t *Transport) connect(ctx context.Context) (*conn, error) {
	nc, err := t.dial(ctx, "tcp", t.address)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return newConn(nc, &t.idle, t.fallback.ReadBufferSize, t.fallback.WriteBufferSize), nil
}

// exchange sends req over c and reads the head of the response. It owns c: if it
// fails, it closes c, else the response's body owns c.
func (t *Transport) exchange(c *conn, req *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(c.traceInfo())
	}
	ctx := req.Context()
	b := &body{conn: c, ctx: ctx}
	if ctx.Done() != nil {
		// Closing c ends every read and write. A deadline in the past would not,
		// because the caller's goroutine may set another one.
		b.stop = context.AfterFunc(ctx, c.abort)
	}
	res, err := t.send(c, req, trace)
	if err != nil {
		return nil, b.fail(err)
	}
	b.keep = !res.Close && !req.Close && res.StatusCode >= http.StatusOK
	if res.Body == http.NoBody {
		b.release(b.keep)
		return res, nil
	}
	if t.headerTimeout > 0 && (res.ContentLength < 0 || res.ContentLength > int64(c.br.Buffered())) {
		// The rest of the body has no time limit. If nothing is left to read, the
		// next request sets a new deadline.
		if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
			return nil, b.fail(err)
		}
	}
	b.src, res.Body = res.Body, b
	return res, nil
}

// send writes req and reads responses up to the final one's head.
func (t *Transport) send(c *conn, req *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
	c.readLimit, c.written, c.answered = t.headerLimit, 0, false
	if err := req.Write(c.bw); err != nil {
		return nil, err
	}
	if err := c.bw.Flush(); err != nil {
		return nil, err
	}
	if t.headerTimeout > 0 {
		if err := c.nc.SetReadDeadline(time.Now().Add(t.headerTimeout)); err != nil {
			return nil, err
		}
	}
	if _, err := c.br.Peek(1); err != nil {
		return nil, c.explain(err)
	}
	c.answered = true
	if trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	res, err := c.readHead(req, trace, t.headerLimit)
	if err != nil {
		return nil, c.explain(err)
	}
	c.readLimit = math.MaxInt64
	return res, nil
}
