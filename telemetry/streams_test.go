package telemetry

import (
	"slices"
	"testing"

	"tyk_proxy/middleware"
)

// Many invalid tokens hide neither failures nor the denials of another stage.
func TestFloodDoesNotHideOtherRequests(t *testing.T) {
	s := &script{middleware.StageAuth, middleware.CredentialsMissing}
	r := newRig(t, TracesConfig{KeepPerSecond: 20}, s)
	r.send(t, 2000, 2)
	for _, other := range []script{
		{middleware.StageProxy, middleware.UpstreamAborted},
		{middleware.StageTokenLookup, middleware.StoreUnavailable},
		{middleware.StageRateLimit, middleware.RateLimited},
	} {
		*s = other
		if n := r.send(t, 1, spansUpTo(other.stage)); n != 1 {
			t.Errorf("%s made %d traces after many denials, want 1", other.reason, n)
		}
	}
}

// spansUpTo returns how many spans a request has that ends at a stage: the
// server's, and one for each stage it met.
func spansUpTo(stage string) int { return 2 + slices.Index(middleware.StageNames(), stage) }

// If nothing is kept, the ratio also decides about refused requests.
func TestKeepPerSecondZero(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1}, &script{middleware.StageAuth, middleware.TokenExpired})
	if n := r.send(t, 7, 2); n != 7 {
		t.Errorf("%d traces, want 7", n)
	}
}
