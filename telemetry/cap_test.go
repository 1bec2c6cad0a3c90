package telemetry

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
	began := time.Now()
	n := g.answered(t, 500, token, "500")
	if most := each / 4 * (int(time.Since(began)/time.Second) + 1); n > most {
		t.Errorf("500 answers with 500 made %d traces, want %d at most", n, most)
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

// In any second, wherever it begins, no kind, no half and the whole have more
// than their share, and a flood of everything fills the whole.
func TestCapInAnySecond(t *testing.T) {
	kinds := append(middleware.StageNames(), kindSlow, kindUpstream, kindFailed)
	for _, each := range []int{1, 2, 3, 5, 20, 50} {
		c, now := newKeepCap(each), time.Unix(1e9, 0)
		c.now = func() time.Time { return now }
		random := rand.New(rand.NewPCG(uint64(each), 1))
		kept := map[string][]time.Time{}
		for end := now.Add(10 * time.Second); now.Before(end); now = now.Add(time.Duration(random.IntN(1000)) * time.Microsecond) {
			kind := kinds[random.IntN(len(kinds))]
			if !c.allow(kind) {
				continue
			}
			half := "others"
			if kind == kindFailed || kind == kindUpstream {
				half = "failures"
			}
			for _, share := range []string{kind, half, "all"} {
				kept[share] = append(kept[share], now)
			}
		}
		most := map[string]int{"all": each, "failures": each - each/2, kindFailed: each - each/2, "others": each / 2}
		for share, times := range kept {
			limit, ok := most[share]
			if !ok {
				limit = each / 4
			}
			limit = max(limit, 1)
			if n := busiestSecond(times); n > limit {
				t.Errorf("keep %d: %d of %s in one second, want %d at most", each, n, share, limit)
			}
		}
		if n := len(kept["all"]); n < 9*each { // the last second of ten is not over
			t.Errorf("keep %d: %d in 10 s, want nearly all that may be", each, n)
		}
	}
}

func busiestSecond(times []time.Time) (most int) {
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// What one share refuses takes nothing from the others, and each kind alone is
// kept, also where one a second is all there is.
func TestCapOfOneKind(t *testing.T) {
	for _, each := range []int{1, 2, 4, 50} {
		for _, kind := range append(middleware.StageNames(), kindSlow, kindUpstream, kindFailed) {
			c := newKeepCap(each)
			c.now = func() time.Time { return time.Unix(1e9, 0) }
			want := max(each/4, 1)
			if kind == kindFailed {
				want = max(each/2, 1)
			}
			got := 0
			for range 1000 {
				if c.allow(kind) {
					got++
				}
			}
			if got != want {
				t.Errorf("keep %d: %d of %s at once, want %d", each, got, kind, want)
			}
			if kind != kindFailed && each > 2 && !c.allow(kindFailed) {
				t.Errorf("keep %d: a flood of %s takes the failures' part", each, kind)
			}
		}
	}
}

// A mix of everything stays under the cap from its first second on.
func TestMixedFloodIsCapped(t *testing.T) {
	s := &script{}
	for _, each := range []int{1, 5, 50} {
		r := newRig(t, TracesConfig{KeepPerSecond: each}, s)
		began := time.Now()
		for range 500 {
			for _, *s = range []script{
				{middleware.StageAuth, middleware.TokenExpired},
				{middleware.StageTokenLookup, middleware.StoreUnavailable},
				{middleware.StageRouteCheck, middleware.RouteNotAllowed},
				{middleware.StageRateLimit, middleware.RateLimited},
				{middleware.StageProxy, middleware.UpstreamTimeout},
			} {
				r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
			}
		}
		seconds := int(time.Since(began)/time.Second) + 1
		if n := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} `); n < each || n > seconds*each {
			t.Errorf("keep %d: %d kept in %d s, want %d to %d", each, n, seconds, each, seconds*each)
		}
	}
}
