package lean

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestTimeouts checks the errors if the upstream stops at several points.
func TestTimeouts(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		for _, row := range []struct {
			name, begun string
			header      time.Duration
			end         func(context.Context) (context.Context, context.CancelFunc)
			want        string
		}{
			{"headers", "", 30 * time.Millisecond, nil, "timeout"},
			{"half of the headers", "HTTP/1.1 200 OK\r\nContent", 30 * time.Millisecond, nil, "timeout"},
			{"1xx only", "HTTP/1.1 103 Early Hints\r\n\r\n", 30 * time.Millisecond, nil, "timeout"},
			{"deadline before the answer", "", 0, within, "timeout"},
			{"deadline in the headers", "HTTP/1.1 200 OK\r\nContent", time.Minute, within, "timeout"},
			{"deadline in the body", hi[:len(hi)-1], time.Minute, within, `200 "h" of 2 timeout`},
			{"canceled before the answer", "", 0, soon, "canceled"},
			{"canceled in the body", hi[:len(hi)-1], 0, soon, `200 "h" of 2 canceled`},
			{"canceled in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nh", 0, soon, `200 "h" canceled`},
			{"canceled in an endless body", "HTTP/1.1 200 OK\r\n\r\nh", 0, soon, `200 "h" canceled`},
			{"canceled with a cause", "", 0, withCause, "invalid"},
			{"canceled before it began", "", 0, func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return ctx, cancel
			}, "canceled"},
		} {
			t.Run(row.name, func(t *testing.T) {
				o := newUpstream(t, always(row.begun, false))
				transport := newTransport(t, o.url, func(f *http.Transport) { f.ResponseHeaderTimeout = row.header })
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if row.end != nil {
					ctx, cancel = row.end(ctx)
				}
				defer cancel()
				if got := ask(ctx, t, transport, "", o.url); got != row.want {
					t.Errorf("got %s, want %s", got, row.want)
				}
				if o.accepted.Load() > 0 {
					o.clientClosed(t)
				}
			})
		}
	})
}

func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Millisecond)
}

func soon(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(30*time.Millisecond, cancel)
	return ctx, cancel
}

func withCause(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	time.AfterFunc(30*time.Millisecond, func() { cancel(errors.New("the cause")) })
	return ctx, func() { cancel(nil) }
}

// TestHeaderTimeoutIsForHeaders checks that the header timeout does not apply to the
// body, also on a reused connection, and that idle connections are kept.
func TestHeaderTimeoutIsForHeaders(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, func(o *upstream, c net.Conn, r *bufio.Reader) {
			for o.next(r) {
				_, _ = io.WriteString(c, hi[:len(hi)-1])
				if o.requests.Load() == 2 {
					time.Sleep(150 * time.Millisecond)
				}
				_, _ = io.WriteString(c, "i")
			}
		})
		transport := newTransport(t, o.url, func(f *http.Transport) { f.ResponseHeaderTimeout = 50 * time.Millisecond })
		for range 3 {
			if got := ask(t.Context(), t, transport, "POST", o.url); got != `200 "hi"` {
				t.Errorf("got %s", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := o.accepted.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestTimeoutIsNotRetried checks that a timeout on a reused connection is not
// retried.
func TestTimeoutIsNotRetried(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, func(o *upstream, c net.Conn, r *bufio.Reader) {
			for o.next(r) {
				if o.requests.Load() == 1 {
					_, _ = io.WriteString(c, hi)
				}
			}
		})
		transport := newTransport(t, o.url, func(f *http.Transport) { f.ResponseHeaderTimeout = 50 * time.Millisecond })
		ask(t.Context(), t, transport, "", o.url)
		if got := ask(t.Context(), t, transport, "", o.url); got != "timeout" || o.requests.Load() != 2 {
			t.Errorf("got %s after %d requests", got, o.requests.Load())
		}
	})
}

// TestCancelAfterTheEnd checks that cancelling the context of a request that has
// ended does not close the connection, which the next request uses.
func TestCancelAfterTheEnd(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, always(hi, false))
		transport := newTransport(t, o.url, nil)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			if got := ask(ctx, t, transport, "POST", o.url); got != `200 "hi"` {
				t.Fatalf("got %s", got)
			}
			go cancel()
		}
		if n := o.accepted.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestDialFailures(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		refused := newUpstream(t, always(hi, false))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + listener.Addr().String()
		listener.Close()
		if got := ask(t.Context(), t, newTransport(t, url, nil), "", url); got != "dial" {
			t.Errorf("refused: got %s", got)
		}
		hang := func(f *http.Transport) {
			dialer := &net.Dialer{Timeout: 50 * time.Millisecond}
			f.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, "192.0.2.1:80") // TEST-NET-1 never answers (RFC 5737)
			}
		}
		if got := ask(t.Context(), t, newTransport(t, refused.url, hang), "", refused.url); got != "dial" {
			t.Errorf("dial timeout: got %s", got)
		}
		wait := func(f *http.Transport) {
			f.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}
		ctx, cancel := soon(t.Context())
		defer cancel()
		if got := ask(ctx, t, newTransport(t, refused.url, wait), "", refused.url); got != "canceled" {
			t.Errorf("canceled while dialling: got %s", got)
		}
	})
}

// TestCancelBeforeBufferedBodyIsRead checks that a body which was received before
// the cancellation can be read, and that its connection is closed.
func TestCancelBeforeBufferedBodyIsRead(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, always(hi, false))
		transport := newTransport(t, o.url, nil)
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			res, err := transport.RoundTrip(request(ctx, t, "POST", o.url))
			cancel()
			o.clientClosed(t)
			if got := describe(res, err); got != `200 "hi"` && got != `200 "" of 2 canceled` {
				t.Errorf("got %s", got)
			}
		}
	})
}

// TestCancelDuringRelease checks that a connection is not kept once its
// cancellation has begun, which may close it at any time.
func TestCancelDuringRelease(t *testing.T) {
	o := newUpstream(t, always(hi, false))
	transport := newLean(t, o.url, nil)
	for begun, kept := range map[bool]bool{false: true, true: false} {
		c, err := transport.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := &body{conn: c, ctx: t.Context(), stop: func() bool { return !begun }}
		b.release(true)
		if got := transport.idle.pop(); (got == c) != kept {
			t.Errorf("cancellation begun: %t, connection kept: %t", begun, got == c)
		}
		c.abort()
	}
}
