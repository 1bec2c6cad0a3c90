package telemetry

import (
	"slices"
	"testing"

	"tyk_proxy/middleware"
)

// Whoever floods the gateway with bad tokens hides neither what fails nor what
// another stage refuses.
func TestFloodHidesNothingElse(t *testing.T) {
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
			t.Errorf("%s made %d traces after the flood, want 1", other.reason, n)
		}
	}
}

// spansUpTo returns how many spans a request has that ends at a stage: the
// server's, and one for each stage it met.
func spansUpTo(stage string) int { return 2 + slices.Index(middleware.StageNames(), stage) }

// Without keeping, the ratio alone decides, about refused requests too.
func TestWithoutKeeping(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1}, &script{middleware.StageAuth, middleware.TokenExpired})
	if n := r.send(t, 7, 2); n != 7 {
		t.Errorf("%d traces, want 7", n)
	}
}
