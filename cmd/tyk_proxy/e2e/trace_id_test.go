package e2e_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"tyk_proxy/middleware/storetest"
)

var traceIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// interim is a backend that answers 103 first and sends its own trace id. On
// /api/v1/test2 it switches protocols or aborts.
func interim(tb testing.TB) string {
	tb.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echoUpgraded(w)
			return
		}
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Trace-Id", "the backend's own")
		fmt.Fprint(w, "hi")
		if r.URL.Path == "/api/v1/test2" {
			_ = http.NewResponseController(w).Flush() // the client is what is tested
			panic(http.ErrAbortHandler)
		}
	}))
	tb.Cleanup(backend.Close)
	return backend.URL
}

// final sends a request and returns the head of the final response.
func final(tb testing.TB, p *program, path string, fields ...string) *http.Response {
	tb.Helper()
	conn := dialURL(tb, p.base)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: gateway\r\n%s\r\n\r\n", path, strings.Join(fields, "\r\n"))
	for reader := bufio.NewReader(conn); ; {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			tb.Fatal(err)
		}
		if response.StatusCode == http.StatusSwitchingProtocols || response.StatusCode >= http.StatusOK {
			return response
		}
	}
}

// Every response of the pipeline has the gateway's trace id exactly once.
func TestTraceID(t *testing.T) {
	redis, backend := storetest.StartRedis(t), interim(t)
	for _, header := range []string{"X-Trace-Id", "Request-Trace", ""} {
		t.Run(header, func(t *testing.T) {
			cfg := testConfig(redis.Addr, backend)
			cfg.Telemetry.TraceIDHeader = header
			p := start(t, cfg)
			good := "Authorization: Bearer " + mintToken(t, cfg, 100).JWT
			for _, row := range []struct {
				status int
				path   string
				fields []string
			}{
				{200, "/api/v1/test", []string{good}},
				{200, "/api/v1/test2", []string{good}}, // and breaks off
				{101, "/api/v1/test2", []string{good, "Connection: Upgrade", "Upgrade: websocket"}},
				{401, "/api/v1/test", nil},
				{403, "/other", []string{good}},
			} {
				response := final(t, p, row.path, row.fields...)
				if response.StatusCode != row.status {
					t.Errorf("%s: %d, want %d", row.path, response.StatusCode, row.status)
				}
				own := response.Header["X-Trace-Id"]
				if header != "" {
					ids := response.Header[header]
					if len(ids) != 1 || !traceIDForm.MatchString(ids[0]) {
						t.Errorf("%d of %s: %s is %q", row.status, row.path, header, ids)
					}
				}
				if header != "X-Trace-Id" && len(own) > 0 && own[0] != "the backend's own" {
					t.Errorf("%d of %s: X-Trace-Id %q, which is not configured", row.status, row.path, own)
				}
			}
		})
	}
}

// Too large trace context is refused like any large header.
func TestOversizeTraceContext(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	p := start(t, cfg)
	good := "Authorization: Bearer " + mintToken(t, cfg, 100).JWT
	const parent = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for size, want := range map[int]int{4 << 10: http.StatusOK, 16 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		long := strings.Repeat("x", size)
		for _, fields := range [][]string{{parent + long}, {parent, "Tracestate: a=" + long}, {parent, "Baggage: a=" + long}} {
			if got := final(t, p, "/api/v1/test", append(fields, good)...); got.StatusCode != want {
				t.Errorf("%d bytes in %.10s: %d, want %d", size, fields[len(fields)-1], got.StatusCode, want)
			}
		}
	}
}

// The metrics count an upgraded connection as 101, and an aborted response
// too.
func TestMetricsOfUpgradesAndAborts(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, interim(t))
	p := start(t, cfg)
	good := "Authorization: Bearer " + mintToken(t, cfg, 100).JWT
	socket := upgrade(t, p, strings.TrimPrefix(good, "Authorization: Bearer "))
	socket.echoes(t)
	socket.Close()
	final(t, p, "/api/v1/test2", good)
	eventually(t, askTimeout, "the metrics count both", func() bool {
		text := askURL(t, http.MethodGet, p.metrics+"/metrics", "").body
		count := func(status int) string {
			return fmt.Sprintf("http_server_request_duration_seconds_count{http_request_method=%q,http_response_status_code=\"%d\","+
				"http_route=\"/api/v1/test2\"} 1\n", "GET", status)
		}
		return strings.Contains(text, count(101)) && strings.Contains(text, count(200)) &&
			strings.Contains(text, `http_server_active_requests{http_request_method="GET",url_scheme="http"} 0`)
	})
}
