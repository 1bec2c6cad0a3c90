package telemetry

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// head stands before everything that records. It gives each request its ids and
// decides whether the request is sampled: traced live, from the first span on.
type head struct {
	next    http.Handler
	trusted []netip.Prefix
	ratio   sdktrace.Sampler // nil if nothing is exported
	active  *activeRequests

	requests sync.Pool // of *requestState
}

// Server instruments the public listener.
//
// A peer outside the trusted networks starts a trace of its own, with a link
// to the one it claims to continue: it can neither switch tracing on nor off,
// nor write into somebody else's trace.
func (p *Providers) Server(next http.Handler, port int, trusted []netip.Prefix) (http.Handler, error) {
	active, err := p.newActiveRequests()
	if err != nil {
		return nil, err
	}
	return &head{next: p.tracedServer(next, port, trusted), trusted: trusted, ratio: p.ratio, active: active}, nil
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
	case middleware.Trusted(h.trusted, r.RemoteAddr):
		req.parent, req.traceID = caller, caller.TraceID()
	default:
		req.link = caller
		delete(r.Header, "Traceparent") // otelhttp would continue that trace
	}
}

// sample decides by the trusted caller's flag, else by the ratio.
func (h *head) sample(req *requestState) bool {
	if req.parent.IsValid() {
		return req.parent.IsSampled()
	}
	return h.ratio.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: context.Background(), TraceID: req.traceID,
	}).Decision == sdktrace.RecordAndSample
}

// serverAddress replaces the client's Host on spans: what a client writes there
// could be anything.
func serverAddress(port int) string { return serverName + ":" + strconv.Itoa(port) }

const serverName = "gateway"
