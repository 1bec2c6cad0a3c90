package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// head is the outermost handler of telemetry. It gives each request its ids and
// decides whether the request is sampled, that is, traced live.
type head struct {
	next     http.Handler
	ratio    sdktrace.Sampler // nil if nothing is exported
	active   activeRequests
	requests sync.Pool // of *requestState
}

// Server instruments the public listener. It must be wrapped in
// [middleware.TrustBoundary], which decides whether a peer is trusted.
//
// A request of an untrusted peer starts a new trace, with a link to the trace
// that the peer sent. An untrusted peer can therefore neither force nor prevent
// tracing, and cannot add spans to the trace of another client.
func (p *Providers) Server(port int, next http.Handler) http.Handler {
	// The client's Host is not used on spans, because it can be any text.
	p.address = "gateway:" + strconv.Itoa(port)
	return &head{next: p.tracedServer(next), ratio: p.ratio, active: p.active}
}

// ServeHTTP implements [http.Handler].
func (h *head) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := newRequest(&h.requests)
	if r.Header["Traceparent"] != nil {
		h.follow(req, r)
	}
	if h.ratio != nil {
		req.sampled = h.sample(req)
	}
	active := h.active.begin(r)
	defer func() {
		active.now.Add(-1)
		h.requests.Put(req)
	}()
	h.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, req)))
}

// follow reads the caller's trace context (W3C Trace Context).
func (h *head) follow(req *requestState, r *http.Request) {
	caller := trace.SpanContextFromContext(
		propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
	switch {
	case !caller.IsValid():
	case middleware.TrustedNetworks(r.Context()) != nil:
		req.parent, req.traceID = caller, caller.TraceID()
	default:
		req.link = caller
		delete(r.Header, "Traceparent") // or otelhttp would continue that trace
	}
}

// sample follows the flag of a trusted caller. Without one it uses the ratio.
func (h *head) sample(req *requestState) bool {
	if req.parent.IsValid() {
		return req.parent.IsSampled()
	}
	return h.ratio.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: context.Background(), TraceID: req.traceID,
	}).Decision == sdktrace.RecordAndSample
}
