package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
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

// held is a forwarder that keeps a request open: before its response, as a
// backend that hangs does, or after it has begun, as a stream does.
type held struct {
	scriptedStage

	status  int           // of the response that begins at once; 0 for none
	open    chan struct{} // tells that a request arrived
	release chan struct{}
}

func (h held) Forward(ctx context.Context, w http.ResponseWriter, ex *middleware.Exchange) middleware.Outcome {
	if h.status > 0 {
		w.WriteHeader(h.status)
	}
	h.open <- struct{}{}
	<-h.release
	if h.status > 0 {
		return middleware.Outcome{Reason: middleware.Forwarded}
	}
	return h.scriptedStage.Forward(ctx, w, ex)
}

// hold serves a request that stays open until the returned function is called.
func hold(t *testing.T, cfg TracesConfig, s *script, status int) (r *rig, end func()) {
	t.Helper()
	h := held{scriptedStage{middleware.StageProxy, s}, status, make(chan struct{}), make(chan struct{})}
	r = newRigWith(t, cfg, s, h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
	}()
	<-h.open
	return r, func() {
		close(h.release)
		<-done
		r.flush(t)
	}
}

// A response that takes long gives back its room and is judged before it ends,
// and is counted once.
func TestLongRequestsAreSettled(t *testing.T) {
	keep := func(slow time.Duration) TracesConfig { return TracesConfig{KeepPerSecond: 40, SlowThreshold: slow} }
	sampled := TracesConfig{SampleRatio: 1, KeepPerSecond: 40}
	bypassed := script{middleware.StageRateLimit, middleware.LimiterBypassed}
	for name, row := range map[string]struct {
		cfg    TracesConfig
		script script
		age    time.Duration
		want   string // its fate
	}{
		"sampled":                   {sampled, script{}, sweepAge, fateSampled},
		"slow":                      {keep(time.Second), script{}, sweepAge, fateKept},
		"slow later than the sweep": {keep(slowWait), script{}, slowWait, fateKept},
		"never slow":                {keep(0), script{}, sweepAge, fateNotSampled},
		"never slow, bypassed":      {keep(0), bypassed, sweepAge, fateKept},
		"slow much later":           {keep(2 * slowWait), script{}, sweepAge, fateNotSampled},
		"slow much later, begun so": {keep(2 * slowWait), script{}, 2 * slowWait, fateKept},
	} {
		t.Run(name, func(t *testing.T) {
			exported := row.want != fateNotSampled
			r, end := hold(t, row.cfg, &row.script, http.StatusOK)
			r.settle(t, row.age)
			r.wantHeld(t, 0)
			if spans := len(r.spans.GetSpans()); exported != (spans == 4) || !exported && spans != 0 {
				t.Errorf("%d spans were exported while it was open, want those of the 4 stages before the backend, or none", spans)
			}
			end()
			if spans := len(r.spans.GetSpans()); exported != (spans == wholeTrace) || !exported && spans != 0 {
				t.Errorf("%d spans in all, want %d or none", spans, wholeTrace)
			}
			for _, fate := range []string{fateSampled, fateKept, fateNotSampled} {
				want := 0
				if fate == row.want {
					want = 1
				}
				r.expect(t, fmt.Sprintf(`gateway_telemetry_traces_total{gateway_telemetry_fate="%s"} %d`, fate, want))
			}
		})
	}
}

// What will be slow soon is waited for.
func TestLongRequestsAreAwaited(t *testing.T) {
	r, end := hold(t, TracesConfig{KeepPerSecond: 40, SlowThreshold: slowWait}, &script{}, http.StatusOK)
	r.settle(t, slowWait/2)
	r.wantHeld(t, 1)
	end()
	r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="not_sampled"} 1`) // it was quick after all
}

func (r *rig) wantHeld(t *testing.T, want int64) {
	t.Helper()
	if held := r.providers.sampler.active.Load(); held != want {
		t.Errorf("%d requests hold room, want %d", held, want)
	}
}

// A request that waits for the backend can still fail, and is then kept as a
// failure, however many slow requests were kept in that second.
func TestHangingRequestsAreNotSettled(t *testing.T) {
	cfg := TracesConfig{KeepPerSecond: 40, SlowThreshold: time.Second}
	r, end := hold(t, cfg, &script{middleware.StageProxy, middleware.UpstreamTimeout}, 0)
	for r.providers.sampler.cap.allow(kindSlow) {
		continue // until the slow requests' part is used up
	}
	r.settle(t, sweepAge)
	r.wantHeld(t, 1)
	end()
	if spans := len(r.spans.GetSpans()); spans != wholeTrace {
		t.Errorf("%d spans, want %d", spans, wholeTrace)
	}
	r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} 1`)
}

// settling looks after long requests while the client takes its answer.
type settling struct {
	*httptest.ResponseRecorder

	settle func()
}

func (s settling) WriteHeader(status int) {
	s.settle()
	s.ResponseRecorder.WriteHeader(status)
	s.settle()
}

func (s settling) Write(p []byte) (int, error) {
	s.settle()
	return s.ResponseRecorder.Write(p)
}

// The gateway's own 504 is no response that goes on: its failure is not taken
// for the backend's, of which no more may be kept.
func TestRefusalsAreNotSettled(t *testing.T) {
	r := newRig(t, TracesConfig{KeepPerSecond: 40, SlowThreshold: time.Second}, &script{middleware.StageProxy, middleware.UpstreamTimeout})
	for r.providers.sampler.cap.allow(kindUpstream) {
		continue
	}
	r.handler.ServeHTTP(settling{httptest.NewRecorder(), func() { r.settle(t, sweepAge) }}, get(t))
	r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} 1`)
}

// Whenever a request is looked at, it is counted once and exported whole.
func TestSettlingAtAnyTime(t *testing.T) {
	const requests = 300
	cfg := TracesConfig{KeepPerSecond: 1_000_000, SlowThreshold: time.Second}
	for name, status := range map[string]int{"hanging": 0, "streaming": http.StatusOK} {
		t.Run(name, func(t *testing.T) {
			s := &script{middleware.StageProxy, middleware.UpstreamTimeout}
			h := held{scriptedStage{middleware.StageProxy, s}, status, make(chan struct{}), make(chan struct{})}
			r := newRigWith(t, cfg, s, h)
			done := make(chan struct{})
			go func() {
				defer close(done)
				var all sync.WaitGroup
				for range requests {
					all.Go(func() { r.handler.ServeHTTP(httptest.NewRecorder(), get(t)) })
					all.Go(func() { <-h.open; h.release <- struct{}{} })
				}
				all.Wait()
			}()
			for open := true; open; {
				select {
				case <-done:
					open = false
				default:
				}
				r.settle(t, sweepAge)
			}
			kept := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="kept"} `)
			rest := r.metric(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="not_sampled"} `)
			if kept+rest != requests || status == 0 && rest != 0 {
				t.Errorf("%d kept and %d not sampled of %d", kept, rest, requests)
			}
			if spans := len(r.spans.GetSpans()); spans != kept*wholeTrace {
				t.Errorf("%d spans of %d traces", spans, kept)
			}
		})
	}
}

// settle looks after long requests as if so much time had passed.
func (r *rig) settle(t *testing.T, age time.Duration) {
	t.Helper()
	later := time.Now().Add(age)
	for _, open := range r.providers.keeper.long(later) {
		r.providers.keeper.settle(open, later, func(fate string) { r.providers.traceFates.add(t.Context(), fate, 1) })
	}
	r.flush(t)
}

// Where there is no room to record, what would have been exported is counted.
func TestNoRoomIsCounted(t *testing.T) {
	refused := script{middleware.StageAuth, middleware.TokenExpired}
	for name, row := range map[string]struct {
		cfg    TracesConfig
		script script
		parent string // of a trusted caller
		want   string
	}{
		"refused":                 {TracesConfig{SampleRatio: 1, KeepPerSecond: 40}, refused, "", fateNoRoom},
		"refused, ratio 0":        {TracesConfig{KeepPerSecond: 40}, refused, "", fateNoRoom},
		"allowed":                 {TracesConfig{SampleRatio: 1, KeepPerSecond: 40}, script{}, "", fateNoRoom},
		"allowed, ratio 0":        {TracesConfig{KeepPerSecond: 40}, script{}, "", fateNotSampled},
		"allowed, caller's trace": {TracesConfig{KeepPerSecond: 40}, script{}, traceparent + "-01", fateNoRoom},
		"allowed, nothing kept":   {TracesConfig{SampleRatio: 1}, script{}, "", fateNoRoom},
		"refused, none to export": {TracesConfig{}, refused, "", fateNotSampled},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, row.cfg, &row.script)
			r.providers.sampler.active.Add(maxRecording)
			request := get(t)
			request.RemoteAddr = trustedPeer
			if row.parent != "" {
				request.Header.Set("Traceparent", row.parent)
			}
			if _, spans := r.serve(t, request); len(spans) != 0 {
				t.Errorf("%d spans without room, want 0", len(spans))
			}
			r.expect(t, `gateway_telemetry_traces_total{gateway_telemetry_fate="`+row.want+`"} 1`)
		})
	}
}

// Without keeping, the ratio alone decides, about refused requests too.
func TestWithoutKeeping(t *testing.T) {
	r := newRig(t, TracesConfig{SampleRatio: 1}, &script{middleware.StageAuth, middleware.TokenExpired})
	if n := r.send(t, 7, 2); n != 7 {
		t.Errorf("%d traces, want 7", n)
	}
}
