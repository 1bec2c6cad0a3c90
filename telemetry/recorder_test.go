package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

func exportAll() TracesConfig { return TracesConfig{SampleRatio: 1, KeepPerSecond: 1000} }

// A request has five sibling spans of stages. The client span is below the
// last.
func TestSpansOfARequest(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	answer, spans := g.serve(t, request(t, untrustedPeer, "/a/b?q=1", g.token(t, "key-one", 10, "/a/*"), "X-Answer", "418"))
	if answer.Code != http.StatusTeapot {
		t.Fatalf("answered %d, want the backend's 418", answer.Code)
	}
	server := serverSpan(t, spans)
	got := map[string]string{}
	for _, span := range spans {
		parent := "?"
		for _, candidate := range append(spans, tracetest.SpanStub{Name: "none"}) {
			if candidate.SpanContext.SpanID() == span.Parent.SpanID() {
				parent = candidate.Name
			}
		}
		got[span.Name] = fmt.Sprintf("%s of %s, %s {%s}", span.SpanKind, parent, span.Status.Code, attributesOf(span.Attributes))
	}
	id := textOf(spans[0], string(names.AttrKeyID))
	stage := func(learned, stage, reason, more string) string {
		return "internal of GET /a/*, Unset {gateway.key.id=" + id + " " + learned + "gateway.reason=" + reason +
			" gateway.stage=" + stage + " gateway.verdict=allow" + more + "}"
	}
	reset := textOf(spans[3], string(names.AttrReset))
	want := map[string]string{
		"GET /a/*": "server of none, Unset {gateway.key.id=" + id + " gateway.reason=forwarded gateway.stage=proxy gateway.verdict=allow " +
			"http.response.status_code=418 http.route=/a/*}",
		"gateway.auth":         stage("", "auth", "authenticated", ""),
		"gateway.token_lookup": stage("", "token_lookup", "token_found", ""),
		"gateway.route_check":  stage("", "route_check", "route_allowed", " http.route=/a/*"),
		"gateway.rate_limit": stage("gateway.rate_limit.limit=10 gateway.rate_limit.remaining=9 gateway.rate_limit.reset="+reset+
			" gateway.rate_limit.source=redis gateway.rate_limit.window=60 ", "rate_limit", "within_limit", ""),
		"gateway.proxy": stage("", "proxy", "forwarded", " http.response.status_code=418"),
		"HTTP GET":      "client of gateway.proxy, Error {error.type=418 http.response.status_code=418}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if server.StartTime.After(spans[0].StartTime) || spans[0].EndTime.After(spans[1].StartTime) {
		t.Error("the stages' spans overlap, or begin before the server's")
	}
	if url := textOf(spans[4], "url.full"); url != "http://backend:80/a/b" {
		t.Errorf("url.full %q, want it without the query", url)
	}
}

func TestKeyIDs(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	id := func(key string) string {
		_, spans := g.serve(t, request(t, untrustedPeer, "/a", g.token(t, key, 10, "/a")))
		return textOf(spans[0], string(names.AttrKeyID))
	}
	one, again, two := id("key-one"), id("key-one"), id("key-two")
	if one != again || one == two || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(one) || strings.Contains(one, "key-one") {
		t.Errorf("ids %q and %q of one key and %q of another", one, again, two)
	}
	if !strings.Contains(g.lines.String(), `"gateway.key.id":"`+one+`"`) {
		t.Error("the log lines do not carry the id")
	}
}

// A denial leaves the span's status unset, because the client made the error.
func TestStatuses(t *testing.T) {
	for answer, want := range map[string]struct {
		status      int
		stage       codes.Code
		errorType   string
		description string
	}{
		"200":     {200, codes.Unset, "", ""},
		"503":     {503, codes.Unset, "", ""}, // the backend's own answer, relayed: the stage did what it should
		"refuse":  {502, codes.Error, "upstream_unreachable", middleware.UpstreamUnreachable.Info().Title},
		"hang":    {504, codes.Error, "upstream_timeout", middleware.UpstreamTimeout.Info().Title},
		"garbage": {502, codes.Error, "upstream_invalid", middleware.UpstreamInvalid.Info().Title},
		"abort":   {200, codes.Error, "upstream_aborted", middleware.UpstreamAborted.Info().Title},
		"panic":   {500, codes.Error, "panicked", middleware.Panicked.Info().Title},
	} {
		g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
		got, spans := g.serve(t, request(t, untrustedPeer, "/a?token=secret", g.token(t, "k", 10, "/a"), "X-Answer", answer))
		server := serverSpan(t, spans)
		if got.Code != want.status || textOf(server, "http.response.status_code") != fmt.Sprint(want.status) {
			t.Errorf("%s: %d, on the span %s; want %d", answer, got.Code, textOf(server, "http.response.status_code"), want.status)
		}
		proxy := spans[slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == "gateway.proxy" })]
		status := sdktrace.Status{Code: want.stage, Description: want.description}
		if proxy.Status != status || textOf(proxy, "error.type") != want.errorType {
			t.Errorf("%s: the stage's span has %v and error.type %q", answer, proxy.Status, textOf(proxy, "error.type"))
		}
		if isError := server.Status.Code == codes.Error; isError != (want.status >= 500 || want.stage == codes.Error) {
			t.Errorf("%s: the server's span has status %v", answer, server.Status)
		}
		serversType := want.errorType
		if want.stage == codes.Unset && want.status >= 500 {
			serversType = fmt.Sprint(want.status) // by semantic conventions
		}
		if server.Name != "GET /a" || textOf(server, "error.type") != serversType {
			t.Errorf("%s: the server's span is %q with error.type %q", answer, server.Name, textOf(server, "error.type"))
		}
		for _, span := range spans {
			if strings.Contains(fmt.Sprint(span.Attributes, span.Status, span.Events), "secret") {
				t.Errorf("%s: span %s quotes: %v %v", answer, span.Name, span.Attributes, span.Status)
			}
		}
		if strings.Contains(g.lines.String(), "secret") {
			t.Errorf("%s: the log quotes: %s", answer, g.lines)
		}
		if answer != "panic" { // the transport's own panic is nobody's exchange
			g.expect(t, `http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="`+
				fmt.Sprint(want.status)+`",http_route="/a"} 1`)
		}
		g.expect(t, `http_server_active_requests{http_request_method="GET",url_scheme="http"} 0`)
	}
}

// Invalid rules in allowed_routes can be the cause of a denial.
func TestMalformedRules(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	_, spans := g.serve(t, request(t, untrustedPeer, "/other", g.token(t, "k", 10, "/a", "other", "get /other", "*")))
	check := spans[slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == "gateway.route_check" })]
	if n := textOf(check, string(names.AttrMalformedRules)); n != "3" {
		t.Errorf("the span has %q malformed rules, want 3", n)
	}
	if !strings.Contains(g.lines.String(), `"gateway.route_check.malformed_rules":3`) {
		t.Errorf("the log line has no malformed rules: %s", g.lines)
	}
}

// The gauge is 1 for 15 seconds after a failure.
func TestDegraded(t *testing.T) {
	s := &script{}
	r := newRig(t, TracesConfig{}, s)
	now := time.Unix(1e9, 0)
	r.recorder.degraded.now = func() time.Time { return now }
	for _, stage := range middleware.StageNames() {
		line := func(value int) string { return fmt.Sprintf(`gateway_degraded{gateway_stage="%s"} %d`, stage, value) }
		r.expect(t, line(0))
		*s = script{stage, middleware.Panicked}
		r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
		r.expect(t, line(1))
		now = now.Add(15*time.Second - time.Nanosecond)
		r.expect(t, line(1))
		now = now.Add(time.Nanosecond)
		r.expect(t, line(0))
	}
	*s = script{middleware.StageAuth, middleware.TokenExpired}
	r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
	r.expect(t, `gateway_degraded{gateway_stage="auth"} 0`)
}

func TestUtilizationAndClockOffset(t *testing.T) {
	g := newGateway(t, TracesConfig{}, nil)
	if err := g.providers.ClockOffset(func() time.Duration { return -1500 * time.Millisecond }); err != nil {
		t.Fatal(err)
	}
	token := g.token(t, "k", 2, "/a")
	for range 3 { // 0.5, 1, and 1.5, which is refused
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", token))
	}
	g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", g.token(t, "never", 0, "/a"))) // a share of nothing is none
	for _, line := range []string{
		`gateway_rate_limit_utilization_bucket{le="0.4"} 0`, `gateway_rate_limit_utilization_bucket{le="0.5"} 1`,
		`gateway_rate_limit_utilization_bucket{le="1"} 2`, `gateway_rate_limit_utilization_bucket{le="1.5"} 3`,
		`gateway_rate_limit_utilization_count 3`, `gateway_clock_offset_seconds -1.5`,
	} {
		g.expect(t, line)
	}
}

// Routes beyond the limit share a label. Spans still have the route.
func TestManyRoutes(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	for i := range maxRoutes + 5 {
		route := fmt.Sprintf("/route/%03d", i)
		_, spans := g.serve(t, request(t, untrustedPeer, route, g.token(t, fmt.Sprint("k", i), 10, route)))
		if server := serverSpan(t, spans); server.Name != "GET "+route || textOf(server, string(names.AttrRoute)) != route {
			t.Fatalf("the span of %s is %q with route %q", route, server.Name, textOf(server, string(names.AttrRoute)))
		}
	}
	for route, count := range map[string]int{"/route/099": 1, names.Other: 5} {
		g.expect(t, fmt.Sprintf(`http_server_request_duration_seconds_count{http_request_method="GET",`+
			`http_response_status_code="200",http_route="%s"} %d`, route, count))
	}
}

// The limit is reached by 100 routes with ten methods and statuses each.
func TestManyRouteSeries(t *testing.T) {
	l := newRouteLabels()
	for i := range maxRouteSeries {
		if s := (routeSeries{"GET", fmt.Sprint("/", i%10), i}); l.bounded(s) != s {
			t.Fatalf("series %d is beyond the bound", i)
		}
	}
	if got := l.bounded(routeSeries{"GET", "/0", maxRouteSeries}).route; got != names.Other {
		t.Errorf("a series beyond the bound has route %q", got)
	}
	if got := l.bounded(routeSeries{"GET", "/0", 0}).route; got != "/0" {
		t.Errorf("a known series lost its route to %q", got)
	}
}

func TestUnknownMethod(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	r := request(t, untrustedPeer, "/a", g.token(t, "k", 10, "/a"))
	r.Method = "BREW"
	answer, spans := g.serve(t, r)
	server := serverSpan(t, spans)
	if answer.Code != http.StatusMethodNotAllowed || server.Name != "HTTP" || textOf(server, string(names.AttrMethod)) != names.Other {
		t.Errorf("%d, span %q of method %q", answer.Code, server.Name, textOf(server, string(names.AttrMethod)))
	}
	g.expect(t, `http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="405"} 1`)
	if !strings.Contains(g.lines.String(), `"http.request.method":"_OTHER"`) || strings.Contains(g.lines.String(), "BREW") {
		t.Errorf("the log line contains the client's method: %s", g.lines)
	}
}

// Without a collector requests have trace ids, and no spans are recorded.
func TestTracingOff(t *testing.T) {
	g := newGateway(t, exportAll(), nil)
	for _, peer := range []string{trustedPeer, untrustedPeer} {
		answer := httptest.NewRecorder()
		g.handler.ServeHTTP(answer, request(t, peer, "/a", g.token(t, "k", 10, "/a"),
			"Traceparent", traceparent+"-01", "Tracestate", "a=1"))
		id := answer.Header().Get("X-Trace-Id")
		if _, err := trace.TraceIDFromHex(id); err != nil || (id == callersTrace) != (peer == trustedPeer) {
			t.Errorf("%s: trace id %q", peer, id)
		}
		sent := g.lastSent(t)
		if got := sent.Get("Traceparent"); peer == untrustedPeer && (!strings.HasPrefix(got, "00-"+id) || !strings.HasSuffix(got, "-00")) {
			t.Errorf("%s: the backend got %q, want our trace, not sampled", peer, got)
		}
		if peer == trustedPeer && (sent.Get("Traceparent") != traceparent+"-01" || sent.Get("Tracestate") != "a=1") {
			t.Errorf("%s: the backend got %q and %q, want the caller's own", peer, sent.Get("Traceparent"), sent.Get("Tracestate"))
		}
		if !strings.Contains(g.lines.String(), `"trace_id":"`+id+`"`) {
			t.Errorf("%s: the log line does not carry the id", peer)
		}
	}
	if text := g.scrape(t, "application/openmetrics-text; version=1.0.0"); strings.Contains(text, "trace_id") {
		t.Error("an exemplar refers to a trace that was not exported")
	}
	for _, fate := range []string{names.FateSampled, names.FateKept, names.FateOverCap, names.FateNotSampled} {
		g.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="`+fate+`"} 0`)
	}
}
