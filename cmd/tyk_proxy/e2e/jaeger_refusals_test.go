package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/storetest"
)

// faulty is a backend that fails as the query says.
func faulty(tb testing.TB) string {
	tb.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "never":
			<-r.Context().Done()
		case "garbage":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprint(conn, "this is not HTTP\r\n\r\n")
				conn.Close()
			}
		default:
			w.Header().Set("X-Seen-Via", r.Header.Get("Via"))
			_, _ = io.Copy(io.Discard, r.Body) // that of a client that stalls ends in an error
		}
	}))
	tb.Cleanup(backend.Close)
	return backend.URL
}

// post sends these header fields, and a body of five bytes whatever they promise.
func (p *program) post(jwt, fields string) answer {
	p.tb.Helper()
	conn := dialURL(p.tb, p.base)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/test HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %s\r\n%s\r\nhello", jwt, fields)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.tb.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(body)}
}

// The trace id in the body of any refusal leads to its trace, also with ratio
// 0.
func TestRefusalsInJaeger(t *testing.T) {
	j, redis := startJaeger(t), storetest.StartRedis(t)
	cfg := tracedConfig(j, redis.Addr, faulty(t), "problems")
	cfg.Telemetry.Traces.SampleRatio = 0
	cfg.Upstream.ResponseTimeout = config.Duration(300 * time.Millisecond)
	cfg.ServerTimeouts.ReadTimeout = config.Duration(2 * time.Second) // for the rest of a body
	cfg.Application.MaxBodyBytes = 64
	p := start(t, cfg)
	token, poor, gone, broken := mintToken(t, cfg, 1000), mintToken(t, cfg, 1), mintToken(t, cfg, 10), mintToken(t, cfg, 10)
	p.get("/api/v1/test", poor.JWT).want(t, http.StatusOK, "")
	via := p.get("/api/v1/test", token.JWT).header.Get("X-Seen-Via")
	client := redisClient(t, cfg)
	if err := client.Del(context.Background(), gone.StorageKey).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(context.Background(), broken.StorageKey, "{", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	refused := make([]answer, 0, 17)
	refused = append(refused,
		p.get("/api/v1/test", ""),
		p.get("/api/v1/test", "no.jwt"),
		p.get("/api/v1/test", token.JWT[:strings.LastIndexByte(token.JWT, '.')+1]+strings.Repeat("A", 43)),
		p.get("/api/v1/test", gone.JWT),
		p.get("/api/v1/test", broken.JWT),
		p.get("/api/v1//test", token.JWT),
		p.get("/api/v1/test3", token.JWT),
		p.ask("BREW", "/api/v1/test", token.JWT),
		p.get("/api/v1/test", poor.JWT),
		p.get("/api/v1/test?garbage", token.JWT),
		p.get("/api/v1/test?never", token.JWT),
		p.post(token.JWT, "Content-Length: 10\r\n"),
		p.post(token.JWT, "Content-Length: 65\r\n"),
		p.post(token.JWT, "Content-Length: 5\r\n"+strings.Repeat("X-Many: 1\r\n", 100)),
		p.post(token.JWT, "Content-Length: 5\r\nVia: "+via+"\r\n"),
	)
	redis.Stop()
	refused = append(refused, p.get("/api/v1/test", token.JWT))

	reasons, statuses := make(map[string]bool), make(map[int]bool)
	for _, got := range refused {
		reasons[got.reason()], statuses[got.status] = true, true
		checkRefusal(t, j, got)
	}
	if len(reasons) != len(refused) {
		t.Errorf("reasons %v: want %d different ones", slices.Sorted(maps.Keys(reasons)), len(refused))
	}
	want := make(map[int]bool)
	for _, reason := range middleware.Reasons() {
		if status := reason.Info().Status; status != 0 && status != middleware.StatusClientClosedRequest {
			want[status] = true
		}
	}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("statuses in the table of reasons and among the refusals (-want +got):\n%s", diff)
	}
}

// checkRefusal finds the trace of a refusal by the trace id in the body.
func checkRefusal(t *testing.T, j *jaeger, got answer) {
	t.Helper()
	var problem middleware.Problem
	if err := json.Unmarshal([]byte(got.body), &problem); err != nil {
		t.Fatalf("the answer %d is not a problem document: %v", got.status, err)
	}
	if problem.TraceID == "" || problem.TraceID != got.header.Get("X-Trace-Id") {
		t.Errorf("%s: trace_id %q, X-Trace-Id %q; want one and the same", problem.Reason, problem.TraceID, got.header.Get("X-Trace-Id"))
	}
	var tags jaegerTags
	eventually(t, tracesWithin, "Jaeger has the server span", func() bool {
		for _, span := range j.await(problem.TraceID, 1).Spans {
			if span.Tags["span.kind"] == "server" {
				tags = span.Tags
			}
		}
		return tags != nil
	})
	all := middleware.Reasons()
	reason := all[slices.IndexFunc(all, func(r middleware.Reason) bool { return r.String() == problem.Reason })]
	want := jaegerTags{
		"gateway.reason": problem.Reason, "gateway.verdict": reason.Info().Verdict.String(), "gateway.stage": reason.Info().Stage,
		"http.response.status_code": fmt.Sprint(got.status),
	}
	if reason.Info().Verdict == middleware.Fail {
		want["error"], want["error.type"] = "true", problem.Reason
	}
	shown := make(jaegerTags)
	for _, key := range []string{"gateway.reason", "gateway.verdict", "gateway.stage", "http.response.status_code", "error", "error.type"} {
		if value, ok := tags[key]; ok {
			shown[key] = value
		}
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("the server span of %s (-want +got):\n%s", problem.Reason, diff)
	}
}
