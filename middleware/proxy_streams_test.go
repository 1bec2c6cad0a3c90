package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// TestEventsArriveAtOnce has an upstream that sends an event only after the client
// has received the previous one, so buffering would end in a timeout.
func TestEventsArriveAtOnce(t *testing.T) {
	for _, contentType := range []string{"text/event-stream; charset=utf-8", "application/octet-stream"} {
		t.Run(contentType, func(t *testing.T) {
			received := make(chan struct{})
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", contentType)
				_ = http.NewResponseController(w).Flush() // sends the head alone
				for {
					select {
					case <-received:
					case <-r.Context().Done():
						return
					}
					_, _ = io.WriteString(w, "data: x\n\n")
					_ = http.NewResponseController(w).Flush()
				}
			}))
			t.Cleanup(upstream.Close)
			resp := newGateway(t, upstream.URL, nil).get(t, "/events")
			reader := bufio.NewReader(resp.Body)
			for range 3 {
				received <- struct{}{}
				if line, err := reader.ReadString('\n'); err != nil || line != "data: x\n" {
					t.Fatalf("got %q, %v", line, err)
				}
				if _, err := reader.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestStreamOutlivesWriteTimeout checks that the deadline is for one write and not
// for the response. A stream may also pause for longer.
func TestStreamOutlivesWriteTimeout(t *testing.T) {
	const timeout = 300 * time.Millisecond
	for name, pauses := range map[string][]time.Duration{
		"steady":        slices.Repeat([]time.Duration{100 * time.Millisecond}, 12),
		"idle at first": {3 * timeout, 0},
		"idle later":    {0, 3 * timeout, 0, 3 * timeout},
		"late and short": { // no body that extends the deadline
			3 * timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if len(pauses) == 1 {
					time.Sleep(pauses[0])
					w.WriteHeader(http.StatusNoContent)
					return
				}
				for _, pause := range pauses {
					time.Sleep(pause)
					_, _ = io.WriteString(w, "x")
					_ = http.NewResponseController(w).Flush()
				}
			}))
			t.Cleanup(upstream.Close)
			g := newGateway(t, upstream.URL, func(c gatewayConfig) {
				c.server.WriteTimeout, c.pipeline.WriteTimeout = timeout, timeout
			})
			resp := g.get(t, "/x")
			body, err := io.ReadAll(resp.Body)
			want := strings.Repeat("x", len(pauses))
			if len(pauses) == 1 {
				want = ""
			}
			if err != nil || string(body) != want {
				t.Errorf("got %q, %v, want %q", body, err, want)
			}
			checkReason(t, g.journal.wait(t).Outcome, Forwarded)
		})
	}
}

// TestUpload checks that a body arrives complete, with a length or in chunks as it
// was sent.
func TestUpload(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", strings.Join(append(r.TransferEncoding, r.Header.Get("Content-Length")), ""))
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body) // net/http over HTTP/1 reads first, then answers
		_, _ = w.Write(body)
		w.Header().Set("X-Sum", "1")
	}))
	t.Cleanup(upstream.Close)
	g := newGateway(t, upstream.URL, nil)
	body := strings.Repeat("0123456789abcdef", 20000)
	for _, chunked := range []bool{false, true} {
		var from io.Reader = strings.NewReader(body)
		if chunked {
			from = io.MultiReader(from)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.URL+"/x", from)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+g.token)
		resp, err := g.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != body {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if how := resp.Header.Get("X-Length"); (how == "chunked") != chunked {
			t.Errorf("sent as %q", how)
		}
		if resp.Trailer.Get("X-Sum") != "1" {
			t.Errorf("trailer %v", resp.Trailer)
		}
		if d := g.journal.wait(t); d.Bytes != int64(len(body)) {
			t.Errorf("the result has %d bytes", d.Bytes)
		}
	}
}

func TestWebSocket(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("RateLimit", "the upstream's own")
		w.Header().Set("X-Own", "1")
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if conn.Write(r.Context(), kind, append([]byte("echo "), message...)) != nil {
				return
			}
		}
	}))
	t.Cleanup(upstream.Close)
	g := newGateway(t, upstream.URL, func(c gatewayConfig) {
		// Deadlines do not apply after the upgrade.
		const short = 200 * time.Millisecond
		c.server.ReadTimeout, c.server.WriteTimeout, c.pipeline.WriteTimeout = short, short, short
	})
	conn, resp, err := websocket.Dial(t.Context(), g.URL+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + g.token}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"one", "two"} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "echo "+message {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	got := http.Header{}
	for _, name := range []string{"Ratelimit-Policy", "Ratelimit", "X-Ratelimit-Remaining", "X-Own"} {
		got[name] = resp.Header[name]
	}
	want := http.Header{
		"Ratelimit-Policy": {`"default";q=10;w=60`}, "Ratelimit": {`"default";r=9;t=42`}, "X-Ratelimit-Remaining": {"9"}, "X-Own": {"1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	d := g.journal.wait(t)
	if checkReason(t, d.Outcome, Forwarded); d.Status != http.StatusSwitchingProtocols {
		t.Errorf("status %d", d.Status)
	}
}

// TestPausesAreFlushed checks that what an upstream has sent reaches the client
// while the upstream pauses, also if the length of the response is known.
func TestPausesAreFlushed(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for name, first := range map[string]string{"after the head": "", "in the body": "half"} {
			t.Run(method+" "+name, func(t *testing.T) {
				received := make(chan struct{})
				upstream := newUpstreamFunc(t, func(conn net.Conn) {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"+first)
					<-received // the client has what was sent so far
					_, _ = io.WriteString(conn, "halfhalf"[len(first):])
				})
				g := newGateway(t, upstream.url, nil)
				conn := dial(t, g.addr)
				fields, body := "", ""
				if method == http.MethodPost {
					fields, body = "Content-Length: 2\r\n", "hi"
				}
				if _, err := io.WriteString(conn, g.head(method+" /x HTTP/1.1", fields)+body); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				begin := make([]byte, len(first))
				if _, err := io.ReadFull(resp.Body, begin); err != nil {
					t.Fatal(err)
				}
				close(received)
				rest, err := io.ReadAll(resp.Body)
				if got := string(begin) + string(rest); err != nil || got != "halfhalf" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}

// TestFastBodyIsNotFlushed checks that the writes of a fast body with a length are
// not flushed one by one.
func TestFastBodyIsNotFlushed(t *testing.T) {
	server := &flushCounter{ResponseRecorder: httptest.NewRecorder()}
	ex := &Exchange{Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)}
	w := &responseWriter{ResponseWriter: server, ex: ex, flushers: &sync.Pool{}}
	ex.Upstream.Status = http.StatusOK
	w.Header().Set("Content-Length", "1000")
	began := time.Now()
	for range 1000 {
		_, _ = io.WriteString(w, "x")
	}
	w.stopFlusher()
	if most := 1 + int64(time.Since(began)/flushAfter); server.flushes.Load() > most {
		t.Errorf("%d flushes of a fast body, want at most %d", server.flushes.Load(), most)
	}
}

// flushCounter counts flushes.
type flushCounter struct {
	*httptest.ResponseRecorder

	flushes atomic.Int64
}

func (f *flushCounter) Flush() { f.flushes.Add(1) }
