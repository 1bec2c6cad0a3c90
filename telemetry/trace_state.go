package telemetry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
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
	// cannot see by itself.
	upgraded bool   // the connection was handed over
	aborted  bool   // the response broke off
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

	sent *atomic.Int64 // the status of the response that is being relayed; nil before and after
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

// relay tells that a response is being relayed, whose status will be in sent;
// nil tells that it no longer is.
func (t *requestTrace) relay(sent *atomic.Int64) {
	t.mu.Lock()
	t.sent = sent
	t.mu.Unlock()
}

// responding reports whether a response has begun and goes on. Until then a
// request may still fail, whatever it has taken so far. t.mu is held.
func (t *requestTrace) responding() bool { return t.sent != nil && t.sent.Load() > 0 }

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
