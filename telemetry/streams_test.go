package telemetry

import (
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
		if n := r.send(t, 1, len(middleware.StageNames()[:stagesUpTo(other.stage)])+1); n != 1 {
			t.Errorf("%s made %d traces after many denials, want 1", other.reason, n)
		}
	}
}

func stagesUpTo(stage string) int {
	for i, name := range middleware.StageNames() {
		if name == stage {
			return i + 1
		}
	}
	return 0
}

// If nothing is kept, the ratio also decides about refused requests.
func TestKeepPerSecondZero(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1}, &script{middleware.StageAuth, middleware.TokenExpired})
	if n := r.send(t, 7, 2); n != 7 {
		t.Errorf("%d traces, want 7", n)
	}
}
