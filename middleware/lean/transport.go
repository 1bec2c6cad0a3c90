// Package lean is an [http.RoundTripper] for the common request of a reverse
// proxy: no body, no upgrade, to one origin over plain HTTP/1.1. It does the
// whole exchange on the caller's goroutine, where [http.Transport] has two
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
	// Origin is the scheme and host of the one server whose requests are served
	// here. A request to any other host goes to Fallback.
	Origin *url.URL
	// Fallback takes what is not served here. Its DialContext,
	// ResponseHeaderTimeout, IdleConnTimeout, MaxIdleConns, MaxIdleConnsPerHost,
	// MaxResponseHeaderBytes, ReadBufferSize and WriteBufferSize hold for both,
	// but each has connections of its own. With settings that are not
	// implemented here (a Proxy, MaxConnsPerHost, DisableKeepAlives, transparent
	// compression, Dial, Protocols) it takes every request.
	Fallback *http.Transport
}

// Transport implements [http.RoundTripper]. It is safe for concurrent use.
type Transport struct {
	host          string // as requests name it
	address       string // as it is dialled
	enabled       bool   // false if every request goes to fallback
	fallback      *http.Transport
	dial          func(ctx context.Context, network, address string) (net.Conn, error)
	headerTimeout time.Duration // 0 means none
	headerLimit   int64         // bytes
	idle          pool
}

// defaultHeaderLimit is what net/http allows a response's headers, in bytes.
const defaultHeaderLimit = 10 << 20

// New returns a Transport. The Fallback must not be changed afterwards.
func New(cfg Config) *Transport {
	f := cfg.Fallback
	t := &Transport{
		host:          cfg.Origin.Host,
		address:       address(cfg.Origin),
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

// implemented reports whether this package can stand in for cfg.Fallback.
func implemented(cfg Config) bool {
	f := cfg.Fallback
	return cfg.Origin.Scheme == "http" && cfg.Origin.Host != "" && isASCII(cfg.Origin.Host) &&
		f.Proxy == nil && f.MaxConnsPerHost == 0 && !f.DisableKeepAlives && f.DisableCompression &&
		f.Dial == nil && f.Protocols == nil //nolint:staticcheck // Dial is deprecated, but net/http honours it.
}

func address(origin *url.URL) string {
	port := origin.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(origin.Hostname(), port)
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
	// A fresh connection: if it fails, too, that was not for being idle.
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

// exchange sends req over c and reads the head of the response. It owns c: if
// it fails, c is closed, else c goes with the response's body.
func (t *Transport) exchange(c *conn, req *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(c.traceInfo())
	}
	ctx := req.Context()
	b := &body{conn: c, ctx: ctx}
	if ctx.Done() != nil {
		// Closing ends whatever the caller's goroutine waits for, and for good:
		// a deadline set for that could be overwritten by the next one.
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
		// The rest of the body has no time limit. Where there is no rest, the
		// next request sets the deadline anew.
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
