package telemetry

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
		if n := r.send(t, 1, len(middleware.StageNames()[:stagesUpTo(other.stage)])+1); n != 1 {
			t.Errorf("%s made %d traces after the flood, want 1", other.reason, n)
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

// held is a forwarder that keeps requests open, as a stream does.
type held struct {
	scriptedStage

	open    chan struct{} // tells that a request arrived
	release chan struct{}
}

func (h held) Forward(_ context.Context, w http.ResponseWriter, _ *middleware.Exchange) middleware.Outcome {
	h.open <- struct{}{}
	<-h.release
	w.WriteHeader(http.StatusOK)
	return middleware.Outcome{Reason: middleware.Forwarded}
}

// A request that takes long gives back its room and is found before it ends,
// and is counted once.
func TestLongRequestsAreSettled(t *testing.T) {
	for name, cfg := range map[string]TracesConfig{
		"sampled": {SampleRatio: 1, KeepPerSecond: 40, SlowThreshold: time.Second},
		"slow":    {SampleRatio: 0, KeepPerSecond: 40, SlowThreshold: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := held{scriptedStage{middleware.StageProxy, &script{}}, make(chan struct{}), make(chan struct{})}
			r := newRigWith(t, cfg, &script{}, h)
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
			}()
			<-h.open
			r.settle(t)
			if spans := len(r.spans.GetSpans()); spans != 4 {
				t.Errorf("%d spans were exported while it was open, want those of the 4 stages before the backend", spans)
			}
			if active := r.providers.sampler.active.Load(); active != 0 {
				t.Errorf("%d requests hold room, want 0", active)
			}
			close(h.release)
			<-done
			r.flush(t)
			if spans := len(r.spans.GetSpans()); spans != wholeTrace {
				t.Errorf("%d spans in all, want %d", spans, wholeTrace)
			}
			sampled := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="sampled"} `)
			kept := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} `)
			if sampled+kept != 1 {
				t.Errorf("%d sampled and %d kept, want one in all", sampled, kept)
			}
		})
	}
}

// settle looks after long requests as if sweepAge had passed.
func (r *rig) settle(t *testing.T) {
	t.Helper()
	later := time.Now().Add(sweepAge)
	for _, open := range r.providers.keeper.long(later) {
		r.providers.keeper.settle(open, later, func(fate string) { r.providers.traceFates.add(t.Context(), fate, 1) })
	}
	r.flush(t)
}

// Where there is no room to record, what would have been kept is counted.
func TestNoRoomIsCounted(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1, KeepPerSecond: 40}, &script{middleware.StageAuth, middleware.TokenExpired})
	r.providers.sampler.active.Add(maxRecording)
	if n := r.send(t, 7, 0); n != 0 {
		t.Errorf("%d traces without room, want 0", n)
	}
	if n := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="no_room"} `); n != 7 {
		t.Errorf("%d counted, want 7", n)
	}
}

// Without keeping, the ratio alone decides, about refused requests too.
func TestWithoutKeeping(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1}, &script{middleware.StageAuth, middleware.TokenExpired})
	if n := r.send(t, 7, 2); n != 7 {
		t.Errorf("%d traces, want 7", n)
	}
}
