package lean

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const hi = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

// TestClosedWhileIdle checks that a replayable request succeeds if the upstream has
// closed the idle connection, noticed before or after the request was sent.
func TestClosedWhileIdle(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
			o := newUpstream(t, always(hi, true))
			transport := newTransport(t, o.url, nil)
			for range 20 {
				if got := ask(t.Context(), t, transport, "", o.url); got != `200 "hi"` {
					t.Errorf("got %s", got)
				}
				time.Sleep(wait)
			}
		}
	})
}

// silent answers the first request of its first connection. It reads the next
// request and closes the connection, so that the client cannot know whether the
// upstream acted on the request.
func silent(first string) func(*upstream, net.Conn, *bufio.Reader) {
	return func(o *upstream, c net.Conn, r *bufio.Reader) {
		if o.accepted.Load() > 1 {
			always(hi, false)(o, c, r)
			return
		}
		if o.next(r) {
			_, _ = io.WriteString(c, hi)
		}
		if o.next(r) {
			_, _ = io.WriteString(c, first)
		}
	}
}

func TestRetry(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		for _, row := range []struct{ method, key, begun, want string }{
			{"GET", "", "", `200 "hi"`}, {"HEAD", "", "", `200 "" of 2`}, {"OPTIONS", "", "", `200 "hi"`}, {"TRACE", "", "", `200 "hi"`},
			{"POST", "", "", "EOF"}, {"PUT", "", "", "EOF"}, {"DELETE", "", "", "EOF"}, {"PATCH", "", "", "EOF"},
			{"POST", "Idempotency-Key", "", `200 "hi"`}, {"POST", "X-Idempotency-Key", "", `200 "hi"`},
			{"GET", "", "H", "invalid"}, {"GET", "", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "unexpected EOF"},
		} {
			t.Run(row.method+row.key+row.begun, func(t *testing.T) {
				o := newUpstream(t, silent(row.begun))
				transport := newTransport(t, o.url, nil)
				if got := ask(t.Context(), t, transport, "GET", o.url); got != `200 "hi"` {
					t.Fatalf("got %s", got)
				}
				r := request(t.Context(), t, row.method, o.url)
				if row.key != "" {
					r.Header.Set(row.key, "1")
				}
				if got := describe(transport.RoundTrip(r)); got != row.want {
					t.Errorf("got %s, want %s", got, row.want)
				}
				sent := int64(2)
				if strings.HasPrefix(row.want, "200") {
					sent = 3
				}
				if n := o.requests.Load(); n != sent {
					t.Errorf("the upstream saw %d requests, want %d", n, sent)
				}
			})
		}
	})
}

// TestNoRetryOnFreshConnection checks that a request is not retried if a fresh
// connection ends without an answer.
func TestNoRetryOnFreshConnection(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, func(o *upstream, _ net.Conn, r *bufio.Reader) { o.next(r) })
		if got := ask(t.Context(), t, newTransport(t, o.url, nil), "", o.url); got != "EOF" || o.requests.Load() != 1 {
			t.Errorf("got %s after %d requests", got, o.requests.Load())
		}
	})
}

// TestEarlyAnswer has an upstream that answers before it has read the request.
func TestEarlyAnswer(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, func(o *upstream, c net.Conn, r *bufio.Reader) {
			_, _ = r.ReadByte()
			_, _ = io.WriteString(c, "HTTP/1.1 431 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			o.next(r)
			o.next(r)
		})
		r := request(t.Context(), t, "", o.url)
		r.Header.Set("X", strings.Repeat("x", 30<<10))
		if got := describe(newTransport(t, o.url, nil).RoundTrip(r)); got != `431 ""` {
			t.Errorf("got %s", got)
		}
		o.clientClosed(t)
	})
}

// TestConnectionWithoutDescriptor checks that a connection which cannot be checked
// while it is idle is not kept.
func TestConnectionWithoutDescriptor(t *testing.T) {
	o := newUpstream(t, always(hi, false))
	transport := newLean(t, o.url, func(f *http.Transport) {
		f.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return struct{ net.Conn }{c}, err
		}
	})
	for range 2 {
		if got := ask(t.Context(), t, transport, "", o.url); got != `200 "hi"` {
			t.Errorf("got %s", got)
		}
		o.clientClosed(t)
	}
}

// TestUnsolicitedResponse checks that an unsolicited response is not the answer to
// the next request.
func TestUnsolicitedResponse(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, func(o *upstream, c net.Conn, r *bufio.Reader) {
			for o.next(r) {
				_, _ = io.WriteString(c, hi)
				time.Sleep(5 * time.Millisecond)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			}
		})
		transport := newTransport(t, o.url, nil)
		for range 5 {
			if got := ask(t.Context(), t, transport, "POST", o.url); got != `200 "hi"` {
				t.Errorf("got %s", got)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if n := o.accepted.Load(); n != 5 {
			t.Errorf("%d connections for 5 requests", n)
		}
	})
}

// TestUnreadBody checks that closing an unread body closes the connection.
func TestUnreadBody(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false))
		transport := newTransport(t, o.url, nil)
		for _, n := range []int64{0, 1, 4} {
			res, err := transport.RoundTrip(request(t.Context(), t, "", o.url))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, res.Body, n); err != nil {
				t.Error(err)
			}
			if err := res.Body.Close(); err != nil {
				t.Error(err)
			}
			if _, err := res.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a read after Close returns %v", err)
			}
			o.clientClosed(t)
		}
	})
}

// TestCloseDuringRead checks that Close ends a Read that waits.
func TestCloseDuringRead(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", false))
		res, err := newTransport(t, o.url, nil).RoundTrip(request(t.Context(), t, "", o.url))
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(res.Body)
			read <- err
		}()
		time.Sleep(10 * time.Millisecond)
		res.Body.Close()
		if err := <-read; err == nil {
			t.Error("the read returned no error")
		}
		o.clientClosed(t)
	})
}

func TestIdleConnections(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		const callers = 8
		for _, row := range []struct{ most, perHost, kept int }{{100, 3, 3}, {3, 100, 3}, {0, 100, callers}, {0, 0, 2}} {
			var together sync.WaitGroup
			together.Add(callers)
			o := newUpstream(t, func(o *upstream, c net.Conn, r *bufio.Reader) {
				for o.next(r) {
					together.Done()
					together.Wait()
					_, _ = io.WriteString(c, hi)
				}
			})
			transport := newTransport(t, o.url, func(f *http.Transport) {
				f.MaxIdleConns, f.MaxIdleConnsPerHost, f.IdleConnTimeout = row.most, row.perHost, 150*time.Millisecond
			})
			var all sync.WaitGroup
			for range callers {
				all.Go(func() { ask(context.Background(), t, transport, "", o.url) })
			}
			all.Wait()
			time.Sleep(50 * time.Millisecond)
			if closed := len(o.ended); closed != callers-row.kept {
				t.Errorf("%+v: %d of %d connections were closed", row, closed, callers)
			}
			time.Sleep(250 * time.Millisecond)
			if closed := len(o.ended); closed != callers {
				t.Errorf("%+v: %d of %d connections were closed after the timeout", row, closed, callers)
			}
		}
	})
}

// TestCloseIdleConnections checks that no connection and no goroutine remains,
// including connections that are released later.
func TestCloseIdleConnections(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, always(hi, false))
		before := runtime.NumGoroutine()
		transport := newTransport(t, o.url, nil).(interface {
			http.RoundTripper
			CloseIdleConnections()
		})
		ask(t.Context(), t, transport, "", o.url)
		res, err := transport.RoundTrip(request(t.Context(), t, "", o.url))
		if err != nil {
			t.Fatal(err)
		}
		transport.CloseIdleConnections()
		_, _ = io.ReadAll(res.Body)
		o.clientClosed(t)
		for range 100 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	})
}
