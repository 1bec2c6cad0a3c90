package telemetry

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"encoding/binary"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxCalls bounds the calls that one request notes. A request makes three or
// four.
const maxCalls = 16

// requestState is what telemetry knows of one request. It travels in the request's
// context and belongs to the goroutine that serves the request. It is pooled:
// nothing may keep it after the request has ended.
type requestState struct {
	began   time.Time
	traceID trace.TraceID
	spanID  trace.SpanID      // of the server span
	parent  trace.SpanContext // what a trusted caller sent, else invalid
	link    trace.SpanContext // what any other caller sent, else invalid

	sampled bool // the head chose it: its spans are made live
	kept    bool // its trace is written at its end
	overCap bool // it would be kept, but too many of its kind were

	next     trace.SpanID // the id of the next span that the SDK makes, if valid
	keyID    string       // gateway.key.id, once it was asked for
	traceHex string       // traceID in hexadecimal, once it was asked for
	upgraded bool         // the connection was handed over
	aborted  bool         // the response broke off; set only if sampled

	scratch []attribute.KeyValue // room to gather attributes in

	stage string // the stage that runs
	calls []call
	space [maxCalls]call
}

// call is one call to Redis or to the backend that a stage made. It is noted
// only if the request is not sampled: a sampled one has a span instead.
type call struct {
	stage   string
	name    string // the span's
	started time.Time
	elapsed time.Duration
	err     error

	spanID trace.SpanID // of a call to the backend, as its traceparent says
	url    *url.URL     // of a call to the backend
	method string       // of a call to the backend
	status int          // of the backend's response
	proto  string       // of the backend's response
}

// newRequest returns a request with new ids. Its memory is taken from the pool
// if there is some.
func newRequest(pool *sync.Pool) *requestState {
	req, ok := pool.Get().(*requestState)
	if !ok {
		req = new(requestState)
	}
	*req = requestState{began: time.Now(), traceID: newTraceID(), spanID: newSpanID(), scratch: req.scratch[:0]}
	req.calls = req.space[:0]
	return req
}

type requestKey struct{}

func requestFrom(ctx context.Context) *requestState {
	r, _ := ctx.Value(requestKey{}).(*requestState)
	return r
}

func (r *requestState) note(c call) {
	if len(r.calls) < maxCalls {
		c.stage = r.stage
		r.calls = append(r.calls, c)
	}
}

// recorded reports whether the request's trace is or will be exported.
func (r *requestState) recorded() bool { return r.sampled || r.kept }

// measuring returns the context in which to measure: an exemplar is made only
// in one whose span is sampled, and then leads to a trace that is exported.
func (r *requestState) measuring(ctx context.Context) context.Context {
	if !r.kept || r.sampled {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: r.traceID, SpanID: r.spanID, TraceFlags: trace.FlagsSampled,
	}))
}

// hexID returns the trace's id in hexadecimal.
func (r *requestState) hexID() string {
	if r.traceHex == "" {
		r.traceHex = r.traceID.String()
	}
	return r.traceHex
}

// TraceID returns the id of the request's trace, or "" if the context is not
// that of a request.
func TraceID(ctx context.Context) string {
	if r := requestFrom(ctx); r != nil {
		return r.hexID()
	}
	return ""
}

// formatTraceparent formats a W3C traceparent header of version 00.
func formatTraceparent(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) string {
	b := make([]byte, 0, len("00-")+2*len(id)+1+2*len(span)+len("-00"))
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, span[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{byte(flags)})
	return string(b)
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id is no secret
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // the same
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // an id is no secret
	}
	return id
}

// givenIDs is the SDK's source of ids: those that a request was given at its
// start, which its answer and its backend already know, and random ones.
type givenIDs struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g givenIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if r := requestFrom(ctx); r != nil {
		return r.traceID, g.NewSpanID(ctx, r.traceID)
	}
	return newTraceID(), newSpanID()
}

// NewSpanID implements sdktrace.IDGenerator.
func (givenIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if r := requestFrom(ctx); r != nil && r.next.IsValid() {
		id := r.next
		r.next = trace.SpanID{}
		return id
	}
	return newSpanID()
}

// recordedOnly is the SDK's sampler: the head of a request decides, or the
// limiter that keeps what was refused or failed. Spans of no request, such as
// those of a probe of Redis, are not recorded.
type recordedOnly struct{}

// Description implements sdktrace.Sampler.
func (recordedOnly) Description() string { return "tyk_proxy" }

// ShouldSample implements sdktrace.Sampler.
func (recordedOnly) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := sdktrace.SamplingResult{
		Decision:   sdktrace.Drop,
		Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
	if r := requestFrom(p.ParentContext); r != nil && r.recorded() {
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}
