package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// wholeTrace is the number of spans of a scripted request: the server span and
// one for each stage.
var wholeTrace = spansUpTo(middleware.StageProxy)

func get(t *testing.T) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://client-host/api/v1/test", http.NoBody)
}

// send serves n scripted requests and returns the number of exported traces.
// Each must be complete.
func (r *rig) send(t *testing.T, n, spansEach int) int {
	t.Helper()
	r.spans.Reset()
	for range n {
		r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
	}
	r.flush(t)
	traces := make(map[trace.TraceID]int)
	for _, span := range r.spans.GetSpans() {
		traces[span.SpanContext.TraceID()]++
	}
	for id, spans := range traces {
		if spans != spansEach {
			t.Errorf("trace %s has %d spans, want the whole %d", id, spans, spansEach)
		}
	}
	return len(traces)
}

func (r *rig) flush(t *testing.T) {
	t.Helper()
	if err := r.providers.Tracers.(*sdktrace.TracerProvider).ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRefusalsAreKeptAtRatioZero(t *testing.T) {
	s := &script{}
	r := newRig(t, TracesConfig{SampleRatio: 0, KeepPerSecond: 100}, s)
	if n := r.send(t, 1000, wholeTrace); n != 0 {
		t.Errorf("1000 allowed requests made %d traces, want 0", n)
	}
	*s = script{middleware.StageRouteCheck, middleware.RouteNotAllowed}
	if n := r.send(t, 5, spansUpTo(middleware.StageRouteCheck)); n != 5 {
		t.Errorf("5 refused requests made %d traces, want 5", n)
	}
	*s = script{middleware.StageProxy, middleware.UpstreamTimeout}
	if n := r.send(t, 3, wholeTrace); n != 3 {
		t.Errorf("3 failed requests made %d traces, want 3", n)
	}
	r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} 8`)
	r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="not_sampled"} 1000`)
	exported := 5*spansUpTo(middleware.StageRouteCheck) + 3*wholeTrace
	r.expect(t, fmt.Sprintf(`gateway_telemetry_spans_total{gateway_telemetry_fate="exported"} %d`, exported))
}

func (r *rig) expect(t *testing.T, line string) {
	t.Helper()
	if !strings.Contains(r.scrape(t, "text/plain"), "\n"+line+"\n") {
		t.Errorf("/metrics has no line %s", line)
	}
}

func TestRatioOneExportsAll(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1, KeepPerSecond: 1}, &script{})
	if n := r.send(t, 50, wholeTrace); n != 50 {
		t.Errorf("50 allowed requests made %d traces, want 50", n)
	}
}

// The number of kept traces is limited while there are many refusals.
func TestKeptTracesAreLimited(t *testing.T) {
	total := 100_000
	if testing.Short() || raced() {
		total /= 10
	}
	const each = 20
	r := newRig(t, TracesConfig{KeepPerSecond: each}, &script{middleware.StageRateLimit, middleware.RateLimited})
	began := time.Now()
	n := r.send(t, total, spansUpTo(middleware.StageRateLimit))
	most := each * (int(time.Since(began)/time.Second) + 2) // a burst, and so many in each second
	if n < each || n > most {
		t.Errorf("%d refused requests made %d traces, want %d to %d", total, n, each, most)
	}
	if got := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="over_cap"} `); got != total-n {
		t.Errorf("%d traces counted as over the cap, want %d", got, total-n)
	}
}

// raced reports whether the race detector is on, which makes everything about
// ten times slower.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// metric returns the integer value of the line with a prefix.
func (r *rig) metric(t *testing.T, prefix string) int {
	t.Helper()
	_, rest, ok := strings.Cut(r.scrape(t, "text/plain"), "\n"+prefix)
	if !ok {
		t.Fatalf("/metrics has no %s", prefix)
	}
	value := 0
	for _, digit := range rest {
		if digit < '0' || digit > '9' {
			break
		}
		value = value*10 + int(digit-'0')
	}
	return value
}

func TestSlowRequestsAreKept(t *testing.T) {
	r := newRig(t, TracesConfig{KeepPerSecond: 40, SlowThreshold: time.Nanosecond}, &script{})
	if n := r.send(t, 3, wholeTrace); n != 3 {
		t.Errorf("3 slow requests made %d traces, want 3", n)
	}
}

func TestKeepPerSecondZeroKeepsNothing(t *testing.T) {
	r := newRig(t, TracesConfig{}, &script{middleware.StageAuth, middleware.CredentialsMissing})
	if n := r.send(t, 10, 2); n != 0 {
		t.Errorf("%d traces, want 0", n)
	}
}

// Every trace id of an exemplar belongs to an exported trace.
func TestExemplarsReferToExportedTraces(t *testing.T) {
	s := &script{}
	r := newRig(t, TracesConfig{SampleRatio: 0.05, KeepPerSecond: 5}, s)
	for i := range 2000 {
		*s = script{}
		if i%3 == 0 {
			*s = script{middleware.StageRateLimit, middleware.RateLimited}
		}
		r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
	}
	r.flush(t)
	exported := make(map[string]bool)
	for _, span := range r.spans.GetSpans() {
		exported[span.SpanContext.TraceID().String()] = true
	}
	found := make(map[string]int)
	exemplar := regexp.MustCompile(`(?m)^(\w+)\{.* # \{.*trace_id="([0-9a-f]{32})"`)
	for _, match := range exemplar.FindAllStringSubmatch(r.scrape(t, "application/openmetrics-text; version=1.0.0"), -1) {
		found[match[1]]++
		if !exported[match[2]] {
			t.Errorf("an exemplar of %s names a trace that was not exported", match[1])
		}
	}
	for _, name := range []string{
		"gateway_decisions_total", "gateway_stage_duration_seconds_bucket", "http_server_request_duration_seconds_bucket",
	} {
		if found[name] == 0 {
			t.Errorf("%s has no exemplar", name)
		}
	}
}

// Concurrent requests of one trace, from a trusted caller, do not mix.
func TestConcurrentRequestsInOneTrace(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 0, KeepPerSecond: 1000}, &script{middleware.StageAuth, middleware.TokenExpired})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			request := get(t)
			request.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			r.handler.ServeHTTP(httptest.NewRecorder(), request)
		})
	}
	wg.Wait()
	r.flush(t)
	if n := len(r.spans.GetSpans()); n != 200 {
		t.Errorf("%d spans, want 2 of each of 100 requests", n)
	}
}
