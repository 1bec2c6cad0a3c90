package telemetry

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// What otelhttp does for sampled requests, and what is corrected of it, stands
// in this file. It passes all other requests by, and measures nothing: metrics
// are recorded in one place for all requests.

// tracedServer makes the server spans of sampled requests.
func (p *Providers) tracedServer(next http.Handler, port int, trusted []netip.Prefix) http.Handler {
	p.address = serverAddress(port)
	p.trusted = trusted
	handler := otelhttp.NewHandler(corrected(next, trusted), "",
		otelhttp.WithFilter(isSampled),
		otelhttp.WithTracerProvider(p.Tracers),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithServerName(p.address),
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if req := requestFrom(r.Context()); req.sampled {
			req.next = req.spanID
			if r.Header["Upgrade"] != nil {
				w = &upgradable{ResponseWriter: w, request: req}
			}
		}
		handler.ServeHTTP(w, r)
		if requestFrom(r.Context()).aborted {
			panic(http.ErrAbortHandler)
		}
	})
}

func isSampled(r *http.Request) bool {
	req := requestFrom(r.Context())
	return req != nil && req.sampled
}

// corrected stands between otelhttp and the pipeline.
func corrected(next http.Handler, trusted []netip.Prefix) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestFrom(r.Context())
		if !req.sampled {
			next.ServeHTTP(w, r)
			return
		}
		span := trace.SpanFromContext(r.Context())
		correct(span, r, trusted)
		if req.link.IsValid() {
			span.AddLink(trace.Link{SpanContext: req.link})
		}
		defer func() {
			// A response that breaks off ends with this panic, which the SDK would
			// record as an exception: let it pass outside.
			if cause := recover(); cause != nil {
				if cause != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
					panic(cause)
				}
				req.aborted = true
			}
		}()
		next.ServeHTTP(w, r)
		if req.upgraded {
			w.WriteHeader(http.StatusSwitchingProtocols) // goes no further than upgradable
		}
	})
}

// correct puts right what otelhttp recorded of a request. A string that is not
// UTF-8 does not fit into protobuf: the exporter would refuse the whole batch
// for one client's /%FF. And the first of the X-Forwarded-For addresses is
// what the client itself said it was.
func correct(span trace.Span, r *http.Request, trusted []netip.Prefix) {
	if path := r.URL.Path; unfit(path) {
		span.SetAttributes(semconv.URLPath(fitting(path)))
	}
	if agent := r.UserAgent(); unfit(agent) {
		span.SetAttributes(semconv.UserAgentOriginal(fitting(agent)))
	}
	if len(r.Header["X-Forwarded-For"]) > 0 {
		span.SetAttributes(semconv.ClientAddress(middleware.ClientAddress(trusted, r)))
	}
}

// unfit reports whether a client's text cannot be held or exported as it is.
func unfit(text string) bool { return len(text) > maxAttributeLength || !utf8.ValidString(text) }

// fitting returns a copy of the text's beginning: the SDK cuts by slicing, and
// a slice of a client's 30 KiB keeps all of them in memory.
func fitting(text string) string {
	return strings.Clone(strings.ToValidUTF8(text[:min(len(text), maxAttributeLength)], "\uFFFD"))
}

// upgradable remembers that a connection was handed over: otelhttp would record
// it as a 200.
type upgradable struct {
	http.ResponseWriter

	request *requestState
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *upgradable) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w *upgradable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.request.upgraded = err == nil
	return conn, rw, err
}

// Flush implements http.Flusher.
func (w *upgradable) Flush() {
	_ = http.NewResponseController(w.ResponseWriter).Flush() // nothing to tell: the next write fails too
}

// WriteHeader implements http.ResponseWriter. After a hand-over there is no
// header to write any more.
func (w *upgradable) WriteHeader(status int) {
	if !w.request.upgraded {
		w.ResponseWriter.WriteHeader(status)
	}
}
