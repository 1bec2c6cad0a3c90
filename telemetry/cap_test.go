package telemetry

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"tyk_proxy/middleware"
)

// answered sends n requests to which the backend answers as asked, and returns
// how many of their traces were exported.
func (g *gateway) answered(t *testing.T, n int, authorization, answer string) (traces int) {
	t.Helper()
	g.spans.Reset()
	for range n {
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", authorization, "X-Answer", answer))
	}
	g.flush(t)
	for _, span := range g.spans.GetSpans() {
		if !span.Parent.IsValid() {
			traces++
		}
	}
	return traces
}

// A backend's 5xx is kept like a failure, and neither hides the gateway's own
// failures nor is hidden by what clients do.
func TestBackendsErrorsAreKept(t *testing.T) {
	const each = 40
	g := newGateway(t, TracesConfig{KeepPerSecond: each}, tracetest.NewInMemoryExporter())
	token := g.token(t, "k", 1_000_000, "/a")
	if n := g.answered(t, 10, token, "499"); n != 0 {
		t.Errorf("10 answers that are no server errors made %d traces, want 0", n)
	}
	g.answered(t, 1000, "", "")                           // what auth refuses
	g.answered(t, 1000, g.token(t, "other", 1, "/b"), "") // what route_check does
	if n := g.answered(t, 1, token, "503"); n != 1 {
		t.Errorf("a 503 after floods of refusals made %d traces, want 1", n)
	}
	if n := g.answered(t, 500, token, "500"); n > each/2 {
		t.Errorf("500 answers with 500 made %d traces, want %d at most", n, each/2)
	}
	if n := g.answered(t, 1, token, "refuse"); n != 1 {
		t.Errorf("a failure after a flood of the backend's made %d traces, want 1", n)
	}
}

// It is a failure also while it is being sent, and where policy let it pass.
func TestBackendsErrorsByKind(t *testing.T) {
	s := newSampler(TracesConfig{KeepPerSecond: 1})
	for _, row := range []struct {
		stage  string
		reason middleware.Reason
		status int
		want   string
	}{
		{middleware.StageProxy, middleware.Forwarded, http.StatusOK, ""},
		{middleware.StageProxy, middleware.Forwarded, http.StatusInternalServerError, kindUpstream},
		{middleware.StageRateLimit, middleware.LimiterBypassed, http.StatusBadGateway, kindUpstream},
		{middleware.StageRateLimit, middleware.LimiterBypassed, http.StatusNotFound, middleware.StageRateLimit},
		{middleware.StageProxy, middleware.UpstreamTimeout, http.StatusGatewayTimeout, kindFailed},
		{middleware.StageProxy, middleware.UpstreamAborted, http.StatusOK, kindFailed},
	} {
		d := middleware.Decision{Stage: row.stage, Outcome: middleware.Outcome{Reason: row.reason}, Status: row.status}
		if got := s.kind(d); got != row.want {
			t.Errorf("%s with %d is kept as %q, want %q", row.reason, row.status, got, row.want)
		}
	}
	r, end := hold(t, TracesConfig{KeepPerSecond: 40}, &script{}, http.StatusServiceUnavailable)
	r.settle(t, sweepAge)
	end()
	r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} 1`)
}
