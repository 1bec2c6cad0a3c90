package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// rig is a pipeline with scripted outcomes. It captures its telemetry.
type rig struct {
	providers *Providers
	spans     *tracetest.InMemoryExporter
	log       *bytes.Buffer
	handler   http.Handler
	recorder  *Recorder
}

// script says at which stage and with which reason a request ends.
type script struct {
	stage  string
	reason middleware.Reason
}

func newRig(t *testing.T, cfg TracesConfig, s *script) *rig {
	t.Helper()
	return newRigWith(t, cfg, s, scriptedStage{middleware.StageProxy, s})
}

func newRigWith(t *testing.T, cfg TracesConfig, s *script, forwarder middleware.Forwarder) *rig {
	t.Helper()
	r := &rig{spans: tracetest.NewInMemoryExporter(), log: &bytes.Buffer{}}
	var err error
	if r.providers, err = setup(t.Context(), Config{Version: "test", Traces: cfg}, r.spans); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(r.log)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.JSONFormatter{})
	r.recorder, err = r.providers.NewRecorder(log, []byte("a key for key ids"))
	if err != nil {
		t.Fatal(err)
	}
	cfgPipeline := middleware.PipelineConfig{
		Forwarder: forwarder, Observer: r.recorder, TraceID: TraceID, TraceIDHeader: "X-Trace-Id",
	}
	for _, stage := range stagesBeforeProxy() {
		cfgPipeline.Stages = append(cfgPipeline.Stages, scriptedStage{stage, s})
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r.handler = middleware.TrustBoundary(trusted, r.providers.Server(8080, middleware.NewPipeline(cfgPipeline)))
	t.Cleanup(func() { _ = r.providers.Shutdown(context.WithoutCancel(t.Context())) })
	return r
}

// serve sends one request and returns the answer and the spans.
func (r *rig) serve(t *testing.T, request *http.Request) (*httptest.ResponseRecorder, tracetest.SpanStubs) {
	t.Helper()
	r.spans.Reset()
	answer := httptest.NewRecorder()
	func() {
		defer func() {
			if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // a panic's value
				panic(cause)
			}
		}()
		r.handler.ServeHTTP(answer, request)
	}()
	if err := r.providers.Tracers.(interface{ ForceFlush(context.Context) error }).ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return answer, r.spans.GetSpans()
}

// scrape returns the text of /metrics.
func (r *rig) scrape(t *testing.T, accept string) string {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	request.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	r.providers.Metrics.ServeHTTP(answer, request)
	return answer.Body.String()
}

// stagesBeforeProxy returns the names of all stages but the last.
func stagesBeforeProxy() []string {
	all := middleware.StageNames()
	return all[:len(all)-1]
}

type scriptedStage struct {
	name   string
	script *script
}

func (s scriptedStage) Name() string { return s.name }

func (s scriptedStage) Check(_ context.Context, ex *middleware.Exchange) middleware.Outcome {
	reason := middleware.ReasonsOf(s.name)[0] // each stage's first reason lets the request go on
	if s.script.stage == s.name {
		reason = s.script.reason
	}
	switch reason { //nolint:exhaustive // the others learn nothing
	case middleware.Authenticated:
		ex.Claims.APIKey = "the-api-key"
	case middleware.RouteAllowed:
		ex.Route = "/api/v1/test"
	case middleware.WithinLimit:
		ex.Quota = quotaOf(3)
	case middleware.RateLimited:
		ex.Quota = quotaOf(11)
	}
	return middleware.Outcome{Reason: reason}
}

// quotaOf returns a quota of ten requests of which used are used.
func quotaOf(used int64) middleware.Quota {
	return middleware.Quota{
		Limit: 10, Used: used, Window: time.Minute, Reset: 30 * time.Second, ResetAt: time.Unix(1e9, 0),
		Source: middleware.SourceRedis,
	}
}

func (s scriptedStage) Forward(_ context.Context, w http.ResponseWriter, ex *middleware.Exchange) middleware.Outcome {
	reason := middleware.Forwarded
	if s.script.stage == s.name {
		reason = s.script.reason
	}
	if reason == middleware.Forwarded {
		ex.Upstream.Status = http.StatusOK
		w.WriteHeader(http.StatusOK)
	}
	return middleware.Outcome{Reason: reason}
}

// TestGolden writes the complete telemetry of every stage and reason to one
// readable file.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, stage := range middleware.StageNames() {
		for _, reason := range middleware.ReasonsOf(stage) {
			golden(t, &b, &script{stage, reason})
		}
	}
	compareFile(t, "testdata/golden.txt", b.String())
}

func golden(t *testing.T, b *strings.Builder, s *script) {
	t.Helper()
	r := newRig(t, TracesConfig{SampleRatio: 1, KeepPerSecond: 100}, s)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://client-host/api/v1/test?q=1", http.NoBody)
	answer, spans := r.serve(t, request)
	want := s.reason.String()
	fmt.Fprintf(b, "== %s %s\n", s.stage, want)
	fmt.Fprintf(b, "answer  %d %s\n", answer.Code, problemOf(t, answer, want))
	for _, span := range spans {
		if span.Name != names.SpanPrefix+s.stage && span.SpanKind.String() != "server" {
			continue
		}
		fmt.Fprintf(b, "span    %s (%s) %s {%s}\n", span.Name, span.SpanKind, span.Status.Code, attributesOf(span.Attributes))
	}
	for line := range strings.Lines(r.scrape(t, "text/plain")) {
		if pointOf(line, s.stage) {
			b.WriteString("metric  " + line)
		}
	}
	if s.reason.Info().Verdict == middleware.Allow {
		want = middleware.Forwarded.String() // the line is about how the request ended
	}
	fmt.Fprintf(b, "log     %s\n\n", logLine(t, r.log.Bytes(), want))
}

// pointOf reports whether a sample of the gateway's metrics belongs to the
// stage, or to no stage. It ignores durations.
func pointOf(line, stage string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(line), "{")
	name, _, _ = strings.Cut(name, " ")
	if !strings.HasPrefix(name, "gateway_") || strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_seconds_sum") {
		return false
	}
	labelled := strings.Contains(line, "gateway_stage=")
	return !strings.HasSuffix(line, " 0\n") && (!labelled || strings.Contains(line, `gateway_stage="`+stage+`"`))
}

// problemOf returns the problem document without its trace id, which is
// random.
func problemOf(t *testing.T, answer *httptest.ResponseRecorder, want string) string {
	t.Helper()
	if answer.Body.Len() == 0 {
		return "(no body)"
	}
	var problem middleware.Problem
	if err := json.Unmarshal(answer.Body.Bytes(), &problem); err != nil {
		t.Fatal(err)
	}
	if problem.Reason != want || problem.TraceID == "" || problem.TraceID != answer.Header().Get("X-Trace-Id") {
		t.Errorf("problem has reason %q and a trace id %q, want reason %q and the id of X-Trace-Id", problem.Reason, problem.TraceID, want)
	}
	return fmt.Sprintf("%s %q", problem.Type, problem.Title)
}

// logLine returns the log line without the fields that differ between runs.
func logLine(t *testing.T, line []byte, want string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatalf("not one JSON line: %v", err)
	}
	if fields[string(names.AttrReason)] != want {
		t.Errorf("the line has reason %v, want %s", fields[string(names.AttrReason)], want)
	}
	for _, random := range []string{"time", names.LogTraceID, names.LogSpanID, names.LogDuration} {
		if _, ok := fields[random]; !ok {
			t.Errorf("the line has no %s", random)
		}
		delete(fields, random)
	}
	out, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// attributesOf lists the attributes gateway.* and http.response.* in order.
func attributesOf(all []attribute.KeyValue) string {
	var texts []string
	for _, kv := range all {
		key := string(kv.Key)
		if strings.HasPrefix(key, "gateway.") || key == "error.type" || key == string(names.AttrRoute) || key == string(names.AttrStatus) {
			texts = append(texts, key+"="+kv.Value.String())
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}
