package telemetry

import (
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"

	"tyk_proxy/telemetry/names"
)

// client is the instrumented way to the backend. It measures every exchange,
// and tells the backend which trace the request belongs to.
type client struct {
	next     http.RoundTripper // otelhttp's, which makes the spans of sampled requests
	off      bool              // nothing is exported
	duration metric.Float64Histogram
	series   *readyOptions[clientSeries]
}

// Transport instruments the way to the backend. It writes the trace context
// into the request's header, so the request must be the caller's own copy.
func (p *Providers) Transport(next http.RoundTripper) (http.RoundTripper, error) {
	duration, err := newHistogram(p.Meters.Meter(names.Scope), names.MetricClientDuration)
	if err != nil {
		return nil, err
	}
	traced := otelhttp.NewTransport(next,
		otelhttp.WithFilter(isSampled),
		otelhttp.WithTracerProvider(redactingTracers{p.Tracers}),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
	)
	return &client{next: traced, off: p.ratio == nil, duration: duration, series: newReadyOptions(clientLabels)}, nil
}

// RoundTrip implements [http.RoundTripper].
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	req := requestFrom(ctx)
	if req == nil {
		return c.next.RoundTrip(r)
	}
	noted := call{started: time.Now(), url: r.URL, method: r.Method}
	if !req.sampled {
		noted.spanID = newSpanID()
		c.inject(req, noted, r.Header)
	}
	response, err := c.next.RoundTrip(r)
	noted.elapsed, noted.err = time.Since(noted.started), err
	if err == nil {
		noted.status, noted.proto = response.StatusCode, response.Proto
	}
	key := clientSeries{method: metricMethod(r.Method), status: noted.status, errorType: errorTypeOf(err)}
	c.duration.Record(ctx, noted.elapsed.Seconds(), c.series.of(key)...)
	if !req.sampled {
		req.note(noted)
	}
	return response, err
}

// inject writes the trace context of a request without spans (W3C Trace
// Context). A gateway that exports nothing is no part of a trusted caller's
// trace and hands its context on as it came: named as the parent it would be
// missing there, and its decision not to record would end the trace.
func (c *client) inject(req *requestState, noted call, h http.Header) {
	switch {
	case c.off && req.parent.IsValid():
		h["Traceparent"] = []string{formatTraceparent(req.traceID, req.parent.SpanID(), req.parent.TraceFlags())}
	default:
		h["Traceparent"] = []string{formatTraceparent(req.traceID, noted.spanID, 0)}
	}
	if state := req.parent.TraceState(); state.Len() > 0 {
		h["Tracestate"] = []string{state.String()}
	}
}
