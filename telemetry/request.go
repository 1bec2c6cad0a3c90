package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxCalls limits the recorded calls of a request. A request makes three or four.
const maxCalls = 16

// requestState is the telemetry of one request. It is in the request's context,
// and only the goroutine that serves the request uses it. It is pooled: nothing
// may keep it after the end of the request.
type requestState struct {
	began   time.Time
	traceID trace.TraceID
	spanID  trace.SpanID      // of the server span
	parent  trace.SpanContext // from a trusted caller; may be invalid
	link    trace.SpanContext // from an untrusted caller; may be invalid

	sampled bool // its spans are made while it is served
	kept    bool // its spans are made at its end
	overCap bool // it was not kept because of the limit

	next     trace.SpanID // the id of the SDK's next span, if valid
	keyID    string       // gateway.key.id; "" if not yet computed
	traceHex string       // traceID in hexadecimal; "" if not yet computed
	upgraded bool         // the connection was hijacked
	aborted  bool         // the handler panicked with http.ErrAbortHandler; set only if sampled

	scratch []attribute.KeyValue // buffer for attributes

	stage string // the stage that is running
	calls []call
	space [maxCalls]call
}

// call is a call of a stage to Redis or to the backend. It is recorded only if
// the request is not sampled; a sampled request has a span instead.
type call struct {
	stage   string
	name    string // of the Redis command
	started time.Time
	elapsed time.Duration
	err     error

	spanID trace.SpanID // of a call to the backend: sent to it in traceparent
	url    *url.URL     // of a call to the backend
	method string       // of a call to the backend
	status int          // of the backend's response
	proto  string       // of the backend's response
}

// newRequest returns a request with new ids. It uses memory of the pool.
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

// requestFrom returns nil if ctx is not a request's, as in a probe of Redis.
func requestFrom(ctx context.Context) *requestState {
	r, _ := ctx.Value(requestKey{}).(*requestState)
	return r
}

// note records a call of the running stage. It ignores calls beyond maxCalls.
func (r *requestState) note(c call) {
	if len(r.calls) < maxCalls {
		c.stage = r.stage
		r.calls = append(r.calls, c)
	}
}

// measuring returns the context for measurements. The SDK makes an exemplar only
// if the context's span is sampled, so an exemplar always refers to an exported
// trace.
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

// TraceID returns the id of the request's trace, or "" if ctx is not a request's.
func TraceID(ctx context.Context) string {
	if r := requestFrom(ctx); r != nil {
		return r.hexID()
	}
	return ""
}

// formatTraceparent formats a W3C traceparent header of version 00.
func formatTraceparent(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) string {
	b := make([]byte, 0, len("00-")+2*len(id)+len("-")+2*len(span)+len("-00"))
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, span[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{byte(flags)})
	return string(b)
}

// newTraceID returns a random id. An id of zeros is invalid.
func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id is not secret
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // the same
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // an id is not secret
	}
	return id
}

// givenIDs is the SDK's generator of ids. It returns the ids that the client and
// the backend already received, and random ids otherwise.
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

// recordedOnly is the SDK's sampler. It samples the spans of sampled and of kept
// requests. Other spans, such as those of a probe of Redis, are not recorded.
type recordedOnly struct{}

// Description implements sdktrace.Sampler.
func (recordedOnly) Description() string { return "tyk_proxy" }

// ShouldSample implements sdktrace.Sampler.
func (recordedOnly) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := sdktrace.SamplingResult{
		Decision:   sdktrace.Drop,
		Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
	if r := requestFrom(p.ParentContext); r != nil && (r.sampled || r.kept) {
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}
