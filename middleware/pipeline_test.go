package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// scripted returns all stages. Each returns the outcome given for its name, or
// else lets the request go on.
func scripted(answers map[string]func() Outcome) ([]Stage, Forwarder) {
	answer := func(stage string) Outcome {
		if f := answers[stage]; f != nil {
			return f()
		}
		return Outcome{Reason: ReasonsOf(stage)[0]} // the one that allows
	}
	names := StageNames()
	checks := names[:len(names)-1] // the last one forwards
	stages := make([]Stage, 0, len(checks))
	for _, name := range checks {
		stages = append(stages, stageFunc{name, func(_ context.Context, ex *Exchange) Outcome {
			if name == StageRateLimit {
				ex.Quota = Quota{Limit: 10, Used: 7, Window: time.Minute, Reset: 1500 * time.Millisecond, ResetAt: epoch}
			}
			return answer(name)
		}})
	}
	return stages, forwardFunc(func(_ context.Context, w http.ResponseWriter, _ *Exchange) Outcome {
		o := answer(StageProxy)
		if o.Proceeds() {
			w.WriteHeader(http.StatusNoContent)
		}
		return o
	})
}

func serve(t *testing.T, answers map[string]func() Outcome) (*httptest.ResponseRecorder, *journal) {
	t.Helper()
	stages, forwarder := scripted(answers)
	journal := newJournal()
	pipeline := NewPipeline(PipelineConfig{
		Stages: stages, Forwarder: forwarder, Observer: journal, Now: fixed,
		TraceID: func(context.Context) string { return "4bf92f3577b34da6a3ce929d0e0e4736" },
	})
	w := httptest.NewRecorder()
	pipeline.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", http.NoBody))
	return w, journal
}

// TestPipelineOrder checks that the stages run in order, and that none runs after a
// refusal.
func TestPipelineOrder(t *testing.T) {
	refusals := map[string]Reason{
		StageAuth: TokenExpired, StageTokenLookup: StoreUnavailable, StageRouteCheck: RouteNotAllowed,
		StageRateLimit: RateLimited, StageProxy: UpstreamTimeout, "": ReasonNone,
	}
	for refusing, reason := range refusals {
		t.Run("refused by "+refusing, func(t *testing.T) {
			w, journal := serve(t, map[string]func() Outcome{refusing: func() Outcome { return Outcome{Reason: reason} }})
			var want []string
			result := Result{Stage: StageProxy, Outcome: Outcome{Reason: Forwarded}, Status: http.StatusNoContent}
			for _, stage := range StageNames() {
				if stage == refusing {
					want = append(want, "start "+stage, "end "+stage+" "+reason.String())
					result = Result{stage, Outcome{Reason: reason}, reason.Info().Status, int64(w.Body.Len()), 0}
					break
				}
				want = append(want, "start "+stage, "end "+stage+" "+ReasonsOf(stage)[0].String())
			}
			want = append(want, "request "+result.Outcome.Reason.String())
			if diff := cmp.Diff(want, journal.events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(result, journal.wait(t)); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBypassDecides checks that a bypassed request that was served is reported as
// bypassed, and one that failed later as failed.
func TestBypassDecides(t *testing.T) {
	bypass := func() Outcome { return Outcome{Reason: LimiterBypassed, Err: ErrUnavailable} }
	w, journal := serve(t, map[string]func() Outcome{StageRateLimit: bypass})
	want := Result{Stage: StageRateLimit, Outcome: bypass(), Status: http.StatusNoContent}
	if got := journal.wait(t); w.Code != http.StatusNoContent || !cmp.Equal(want, got, cmpopts.EquateErrors()) {
		t.Errorf("status %d, result %+v; want %+v", w.Code, got, want)
	}
	w, journal = serve(t, map[string]func() Outcome{
		StageRateLimit: bypass, StageProxy: func() Outcome { return Outcome{Reason: UpstreamTimeout} },
	})
	if got := journal.wait(t); w.Code != http.StatusGatewayTimeout || got.Stage != StageProxy || got.Outcome.Reason != UpstreamTimeout {
		t.Errorf("status %d, result %+v; want the proxy's failure", w.Code, got)
	}
}

type panicRow struct {
	name  string
	cause func() // panics
	shown string // the error's text
	want  Reason
}

const planted = "s3cr3t-planted"

func panicRows() []panicRow {
	var none []int
	var nowhere *Exchange
	return []panicRow{
		{"runtime error", func() { _ = none[len(planted)] }, "panic: runtime error: index out of range [14] with length 0", Panicked},
		{"nil pointer", func() { nowhere.Route = "x" },
			"panic: runtime error: invalid memory address or nil pointer dereference", Panicked},
		{"string", func() { panic(planted) }, "panic: value of type string", Panicked},
		{"error", func() { panic(errors.New(planted)) }, "panic: value of type *errors.errorString", Panicked},
		{"struct", func() { panic(struct{ secret string }{planted}) }, "panic: value of type struct { secret string }", Panicked},
		{"wrapped runtime error", func() {
			defer func() { panic(fmt.Errorf("%s: %w", planted, recover().(error))) }()
			_ = none[1]
		}, "panic: runtime error: index out of range [1] with length 0", Panicked},
		{"abort", func() { panic(http.ErrAbortHandler) }, "response body ended early", UpstreamAborted},
		{"wrapped abort", func() { panic(fmt.Errorf("%s: %w", planted, http.ErrAbortHandler)) },
			"response body ended early", UpstreamAborted},
	}
}

func TestPanics(t *testing.T) {
	for _, row := range panicRows() {
		for _, stage := range StageNames() {
			t.Run(row.name+" in "+stage, func(t *testing.T) {
				w, journal := serve(t, map[string]func() Outcome{stage: func() Outcome { row.cause(); return Outcome{} }})
				d := journal.wait(t)
				checkReason(t, d.Outcome, row.want)
				if d.Outcome.Err == nil || d.Outcome.Err.Error() != row.shown {
					t.Errorf("cause %v, want %s", d.Outcome.Err, row.shown)
				}
				if d.Stage != stage || w.Code != row.want.Info().Status {
					t.Errorf("decided by %s with status %d", d.Stage, w.Code)
				}
				starts, ends := 0, 0
				for _, event := range journal.events {
					starts += strings.Count(event, "start ")
					ends += strings.Count(event, "end ")
				}
				if n := len(journal.events); starts != ends || n != starts+ends+1 || journal.events[n-1] != "request "+row.want.String() {
					t.Errorf("events %q", journal.events)
				}
				for _, text := range []string{w.Body.String(), fmt.Sprint(w.Header()), fmt.Sprintf("%+v %s", d, stackOf(d.Outcome.Err))} {
					if strings.Contains(text, planted) {
						t.Errorf("the text contains the panic's value: %s", text)
					}
				}
			})
		}
	}
}

func stackOf(err error) []byte {
	if p := (*PanicError)(nil); errors.As(err, &p) {
		return p.Stack
	}
	return nil
}

func TestPanicKeepsTheStack(t *testing.T) {
	_, journal := serve(t, map[string]func() Outcome{StageAuth: func() Outcome { panic("here") }})
	if stack := stackOf(journal.wait(t).Outcome.Err); !strings.Contains(string(stack), "TestPanicKeepsTheStack") {
		t.Errorf("the stack does not contain the function that panicked: %s", stack)
	}
}

// TestNoReasonIsAFailure checks that a stage which returns no reason fails the
// request.
func TestNoReasonIsAFailure(t *testing.T) {
	for _, forgotten := range []Reason{ReasonNone, reasonCount, 255} {
		for _, stage := range StageNames() {
			w, journal := serve(t, map[string]func() Outcome{stage: func() Outcome { return Outcome{Reason: forgotten} }})
			d := journal.wait(t)
			if checkReason(t, d.Outcome, Panicked); w.Code != http.StatusInternalServerError || d.Stage != stage {
				t.Errorf("reason %d in %s: status %d, decided by %s", forgotten, stage, w.Code, d.Stage)
			}
		}
	}
}

// TestProblemMatchesResult compares the response and the result of every refusal of
// every stage.
func TestProblemMatchesResult(t *testing.T) {
	for _, reason := range Reasons() {
		info := reason.Info()
		if info.Status == 0 || info.Status == StatusClientClosedRequest {
			continue
		}
		stage := info.Stage
		if stage == StageAny {
			stage = StageRouteCheck
		}
		t.Run(info.Name, func(t *testing.T) {
			cause := errors.New(planted)
			w, journal := serve(t, map[string]func() Outcome{stage: func() Outcome { return Outcome{reason, cause} }})
			checkProblem(t, w, info)
			d := journal.wait(t)
			want := Result{stage, Outcome{reason, cause}, info.Status, int64(w.Body.Len()), 0}
			if d != want {
				t.Errorf("result %+v, want %+v", d, want)
			}
		})
	}
}

func checkProblem(t *testing.T, w *httptest.ResponseRecorder, info ReasonInfo) {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "urn:tyk-proxy:problem:" + info.Name, "title": info.Title, "status": float64(info.Status), "reason": info.Name,
		"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	h := w.Header()
	if w.Code != info.Status || h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, header %v", w.Code, h)
	}
	if got := h.Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
		t.Errorf("Content-Length %s for %d bytes", got, w.Body.Len())
	}
}

func TestNewPipelinePanics(t *testing.T) {
	_, forwarder := scripted(nil)
	for name, cfg := range map[string]PipelineConfig{
		"no forwarder": {Observer: newJournal()},
		"no observer":  {Forwarder: forwarder},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			NewPipeline(cfg)
		}()
	}
}

// TestPipelineDefaults checks that a pipeline without Now and TraceID uses the real
// clock and sends no trace id.
func TestPipelineDefaults(t *testing.T) {
	journal := newJournal()
	slow := forwardFunc(func(context.Context, http.ResponseWriter, *Exchange) Outcome {
		time.Sleep(2 * time.Millisecond)
		return Outcome{Reason: UpstreamTimeout}
	})
	w := httptest.NewRecorder()
	NewPipeline(PipelineConfig{Forwarder: slow, Observer: journal}).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", http.NoBody))
	if d := journal.wait(t); d.Elapsed < 2*time.Millisecond || d.Elapsed > time.Minute {
		t.Errorf("elapsed %s", d.Elapsed)
	}
	if strings.Contains(w.Body.String(), "trace_id") {
		t.Errorf("the body has a trace id: %s", w.Body)
	}
}
