package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// startStreams is a backend with an event stream at /api/v1/test, with an
// event every 50 ms without end or for the time in the query, and with a
// WebSocket at /api/v1/test2 that echoes bytes.
func startStreams(tb testing.TB) string {
	tb.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/test2" {
			echoUpgraded(w)
			return
		}
		end := make(<-chan time.Time)
		if d, err := time.ParseDuration(r.URL.Query().Get("for")); err == nil {
			end = time.After(d)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush() // a gateway that is gone ends the context too
			select {
			case <-time.After(50 * time.Millisecond):
			case <-end:
				fmt.Fprint(w, "data: end\n\n")
				return
			case <-r.Context().Done():
				return
			}
		}
	}))
	tb.Cleanup(backend.Close)
	return backend.URL
}

func echoUpgraded(w http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, buffered) // ends with the connection
}

// stream opens an event stream and returns it after its first event.
func stream(tb testing.TB, p *program, query, jwt string) *bufio.Reader {
	tb.Helper()
	request, err := http.NewRequest(http.MethodGet, p.base+"/api/v1/test"+query, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+jwt)
	transport := &http.Transport{}
	response, err := transport.RoundTrip(request)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { response.Body.Close(); transport.CloseIdleConnections() })
	events := bufio.NewReader(response.Body)
	if first, err := events.ReadString('\n'); err != nil || first != "data: 0\n" {
		tb.Fatalf("first event %q, %v", first, err)
	}
	return events
}

// upgraded is a connection after the switch to WebSocket.
type upgraded struct {
	net.Conn

	reader *bufio.Reader
	close  bool // the answer said "Connection: close" all the same
}

func upgrade(tb testing.TB, p *program, jwt string) *upgraded {
	tb.Helper()
	conn := dialURL(tb, p.base)
	fmt.Fprintf(conn, "GET /api/v1/test2 HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", jwt)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		tb.Fatalf("upgrade answered %d, want 101", response.StatusCode)
	}
	return &upgraded{Conn: conn, reader: reader, close: response.Close}
}

func (u *upgraded) echoes(tb testing.TB) {
	tb.Helper()
	fmt.Fprint(u, "ping\n")
	if got, err := u.reader.ReadString('\n'); got != "ping\n" || err != nil {
		tb.Errorf("the upgraded connection echoed %q, %v", got, err)
	}
}

// A stream that makes progress outlives all timeouts.
func TestStreamsOutliveTimeouts(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, startStreams(t))
	cfg.ServerTimeouts.ReadHeaderTimeout = config.Duration(time.Second)
	cfg.ServerTimeouts.ReadTimeout = config.Duration(time.Second)
	cfg.ServerTimeouts.WriteTimeout = config.Duration(1500 * time.Millisecond)
	cfg.ServerTimeouts.IdleTimeout = config.Duration(time.Second)
	cfg.Upstream.ResponseTimeout = config.Duration(time.Second)
	p := start(t, cfg)
	token := mintToken(t, cfg, 10)
	socket := upgrade(t, p, token.JWT)
	rest, err := io.ReadAll(stream(t, p, "?for=3s", token.JWT))
	if err != nil || !strings.HasSuffix(string(rest), "data: end\n\n") {
		t.Errorf("the event stream was aborted: %v", err)
	}
	socket.echoes(t)
}

func TestWebSocketAtTermination(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, startStreams(t))
	cfg.ServerTimeouts.DrainDelay = config.Duration(500 * time.Millisecond)
	p := start(t, cfg)
	token := mintToken(t, cfg, 10)
	early := upgrade(t, p, token.JWT)
	p.signal(syscall.SIGTERM)
	eventually(t, time.Second, "draining", func() bool { return p.get("/ready", "").reason() == "draining" })
	early.echoes(t)
	// "Connection: close" contradicts "Connection: Upgrade".
	late := upgrade(t, p, token.JWT)
	if late.close {
		t.Error(`an upgrade during the drain delay is answered "Connection: close"`)
	}
	late.echoes(t)
	p.wantExit(0, 500*time.Millisecond+4*time.Second)
	if strings.Contains(p.stderr.String(), "did not end in time") {
		t.Error("the upgraded connections were not closed before the exit")
	}
	for _, socket := range []*upgraded{early, late} {
		if got, err := io.ReadAll(socket.reader); len(got) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("after the end the upgraded connection returned %q, %v; want EOF", got, err)
		}
	}
}

// At the stop a stream may end by itself within the time for streams. After that
// it is closed, which the client sees and the log says. The exit code is 0.
func TestEventStreamAtTermination(t *testing.T) {
	redis, backend := storetest.StartRedis(t), startStreams(t)
	t.Run("ends in time", func(t *testing.T) {
		cfg := testConfig(redis.Addr, backend)
		p := start(t, cfg)
		events := stream(t, p, "?for=1s", mintToken(t, cfg, 10).JWT)
		p.signal(syscall.SIGTERM)
		if rest, err := io.ReadAll(events); err != nil || !strings.HasSuffix(string(rest), "data: end\n\n") {
			t.Errorf("the stream was aborted: %v", err)
		}
		p.wantExit(0, stopWithin)
	})
	t.Run("endless", func(t *testing.T) {
		cfg := testConfig(redis.Addr, backend)
		cfg.ServerTimeouts.ShutdownTimeout = config.Duration(time.Second)
		p := start(t, cfg)
		events := stream(t, p, "", mintToken(t, cfg, 10).JWT)
		p.signal(syscall.SIGTERM)
		took := p.wantExit(0, time.Second+4*time.Second)
		if took < 500*time.Millisecond {
			t.Errorf("the stream ran for %s, want %s", took, cfg.ServerTimeouts.ShutdownTimeout)
		}
		if _, err := io.ReadAll(events); err == nil {
			t.Error("the cut stream looks complete to its client")
		}
		wantClosedStreams(t, p, 1, 0)
	})
}

// An upstream that never answers delays the exit by the shutdown timeout only.
func TestStuckUpstreamAtTermination(t *testing.T) {
	backend := startGate(t)
	cfg := testConfig(storetest.StartRedis(t).Addr, backend.url)
	cfg.ServerTimeouts.ShutdownTimeout = config.Duration(500 * time.Millisecond)
	p := start(t, cfg)
	wait := backend.hold(t, p, mintToken(t, cfg, 10).JWT, 3)
	p.signal(syscall.SIGTERM)
	p.wantExit(1, 500*time.Millisecond+4*time.Second)
	for _, r := range wait() {
		wantShutDown(t, r)
	}
}

// wantShutDown checks that a request which the stop aborted was answered with
// 503.
func wantShutDown(t *testing.T, r result) {
	t.Helper()
	if r.err != nil || r.answer.status != http.StatusServiceUnavailable || r.answer.reason() != "shutting_down" {
		t.Errorf("the request in flight: %d %s, %v; want 503 shutting_down", r.answer.status, r.answer.reason(), r.err)
	}
}
