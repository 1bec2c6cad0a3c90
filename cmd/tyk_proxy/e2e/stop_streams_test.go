package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// wantClosedStreams tests that the log has the number of streams and upgraded
// connections that the stop closed, and no error.
func wantClosedStreams(t *testing.T, p *program, streams, upgraded int) {
	t.Helper()
	found := 0
	for line := range strings.Lines(p.stderr.String()) {
		var fields struct {
			Message  string `json:"msg"`
			Level    string `json:"level"`
			Streams  int    `json:"streams"`
			Upgraded int    `json:"upgraded"`
		}
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue
		}
		if strings.Contains(line, "cut off") || strings.Contains(fields.Message, "not cleanly") {
			t.Errorf("the log has an error: %s", line)
		}
		if fields.Message != "closing streams and upgraded connections" {
			continue
		}
		if found++; fields.Streams != streams || fields.Upgraded != upgraded {
			t.Errorf("%d streams and %d upgraded connections were closed, want %d and %d",
				fields.Streams, fields.Upgraded, streams, upgraded)
		}
	}
	if found != 1 {
		t.Errorf("%d log lines say that streams were closed, want 1:\n%s", found, p.stderr.String())
	}
}

// Event streams do not hold the stop for the whole shutdown timeout.
func TestEventStreamsDoNotHoldTheStop(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, startStreams(t))
	cfg.ServerTimeouts.ShutdownTimeout = config.Duration(time.Minute)
	p := start(t, cfg)
	jwt := mintToken(t, cfg, 10).JWT
	stream(t, p, "", jwt)
	stream(t, p, "", jwt)
	upgrade(t, p, jwt)
	p.signal(syscall.SIGTERM)
	p.wantExit(0, stopWithin)
	wantClosedStreams(t, p, 2, 1)
}

// startBodies is a backend that sends 64 KiB of a body, more than is buffered on
// the way, and no more. On /api/v1/test2 the body has a Content-Length.
func startBodies(tb testing.TB) string {
	tb.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		if r.URL.Path == "/api/v1/test2" {
			w.Header().Set("Content-Length", "65537")
		}
		fmt.Fprint(w, strings.Repeat("{}{}{}\n\n", 1<<13))
		_ = http.NewResponseController(w).Flush() // a gateway that is gone ends the context too
		<-r.Context().Done()
	}))
	tb.Cleanup(backend.Close)
	return backend.URL
}

// Other responses have the whole shutdown timeout. One without a Content-Length
// is then a stream, which may have had no end. One with it is a request that was
// cut off, also beside a stream.
func TestUnfinishedResponsesAtTermination(t *testing.T) {
	redis, backend := storetest.StartRedis(t), startBodies(t)
	tests := map[string]struct {
		paths []string
		code  int
	}{
		"without Content-Length": {[]string{"/api/v1/test", "/api/v1/test"}, 0},
		"with Content-Length":    {[]string{"/api/v1/test2"}, 1},
		"both":                   {[]string{"/api/v1/test", "/api/v1/test2"}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(redis.Addr, backend)
			cfg.ServerTimeouts.ShutdownTimeout = config.Duration(time.Second)
			p := start(t, cfg)
			jwt := mintToken(t, cfg, 10).JWT
			for _, path := range tt.paths {
				conn := dialURL(t, p.base)
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %s\r\n\r\n", path, jwt)
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			p.signal(syscall.SIGTERM)
			if took := p.wantExit(tt.code, time.Second+4*time.Second); took < 500*time.Millisecond {
				t.Errorf("the responses had %s, want %s", took, cfg.ServerTimeouts.ShutdownTimeout)
			}
			if tt.code == 0 {
				wantClosedStreams(t, p, len(tt.paths), 0)
			} else if !strings.Contains(p.stderr.String(), "requests were cut off (1)") {
				t.Errorf("no log line says that one request was cut off:\n%s", p.stderr.String())
			}
		})
	}
}
