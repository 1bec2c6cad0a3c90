package telemetry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// maxSpansPerTrace bounds what one request may hold in memory. A request has
// nine spans; retries and redirects of libraries may add some.
const maxSpansPerTrace = 64

// requestTrace holds a request's spans until it is known whether they are
// exported. It travels in the request's context, from the edge to every span.
type requestTrace struct {
	// exported says that the spans will be exported; it is final once true.
	exported atomic.Bool

	// Of the goroutine that serves the request. The first two are what otelhttp
	// cannot see by itself; the third is also known where nothing is recorded.
	upgraded bool   // the connection was handed over
	aborted  bool   // the response broke off
	sampled  bool   // the ratio, or a trusted caller, chose it
	keyID    string // gateway.key.id, once it was asked for
	// The trusted caller's span, where the gateway exports none.
	caller trace.SpanContext
	// What Redis' commands took. It is recorded with the stages that sent them,
	// when it may be known that the trace is exported: only then can a
	// measurement lead to it.
	waiting []measurement

	mu      sync.Mutex
	root    trace.SpanID
	began   time.Time
	spans   []sdktrace.ReadOnlySpan
	ended   bool // spans are handed on or dropped at once: the root has ended, or takes too long
	counted bool // its fate is decided
	slot    bool // it counts as one of the requests whose spans are held

	// While a response is relayed, its status and who would have decided if it
	// ended well; nil before and after.
	sent   *atomic.Int64
	served middleware.Step
}

// measurement is a value of a histogram that is still to be recorded.
type measurement struct {
	histogram metric.Float64Histogram
	value     float64
	options   []metric.RecordOption
}

// record records what was measured so far.
func (t *requestTrace) record(ctx context.Context) {
	for _, m := range t.waiting {
		m.histogram.Record(ctx, m.value, m.options...)
	}
	t.waiting = t.waiting[:0]
}

type requestTraceKey struct{}

func withRequestTrace(ctx context.Context, t *requestTrace) context.Context {
	return context.WithValue(ctx, requestTraceKey{}, t)
}

func requestTraceFrom(ctx context.Context) *requestTrace {
	t, _ := ctx.Value(requestTraceKey{}).(*requestTrace)
	return t
}

// relay tells that the proxy has the request now; it passed all other stages.
func (t *requestTrace) relay(ex *middleware.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = &ex.SentStatus
	if step, ok := ex.Bypassed(); ok {
		t.served = step
		return
	}
	t.served = middleware.Step{Stage: middleware.StageProxy, Outcome: middleware.Outcome{Reason: middleware.Forwarded}}
}

// relayed tells that the proxy is done: what is sent from here on is the
// gateway's own, and the request's end decides.
func (t *requestTrace) relayed() {
	t.mu.Lock()
	t.sent = nil
	t.mu.Unlock()
}

// responding returns how a request would end if its response, which has begun,
// were whole now. Without one it may still fail, whatever it has taken so far.
// t.mu is held.
func (t *requestTrace) responding(now time.Time) (d middleware.Decision, ok bool) {
	if t.sent == nil || t.sent.Load() == 0 {
		return d, false
	}
	return middleware.Decision{
		Stage: t.served.Stage, Outcome: t.served.Outcome, Status: int(t.sent.Load()), Elapsed: now.Sub(t.began),
	}, true
}

// add keeps a span that ended. It returns the spans that can be exported now:
// all of them when the root ends, or one that ends after the root.
func (t *requestTrace) add(span sdktrace.ReadOnlySpan) (ready []sdktrace.ReadOnlySpan, lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended:
		ready = []sdktrace.ReadOnlySpan{span}
	case span.SpanContext().SpanID() == t.root:
		t.ended = true
		t.spans = append(t.spans, span)
		ready, t.spans = t.spans, nil
	case len(t.spans) >= maxSpansPerTrace:
		return nil, 1
	default:
		t.spans = append(t.spans, span)
		return nil, 0
	}
	if !t.exported.Load() {
		return nil, 0
	}
	return ready, 0
}
