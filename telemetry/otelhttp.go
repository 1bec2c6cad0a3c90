package telemetry

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// This file contains the use of otelhttp v0.72 and the workarounds for it.
// otelhttp makes the server spans of sampled requests only. It records no
// metrics, because Recorder records them for all requests.

// tracedServer makes the server spans of sampled requests.
func (p *Providers) tracedServer(next http.Handler) http.Handler {
	handler := otelhttp.NewHandler(corrected(next), "",
		otelhttp.WithFilter(isSampled),
		otelhttp.WithTracerProvider(p.Tracers),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithServerName(p.address),
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if req := requestFrom(r.Context()); req.sampled {
			req.next = req.spanID // for the span that otelhttp makes
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

// isSampled is the filter of otelhttp, for the server and the client.
func isSampled(r *http.Request) bool {
	req := requestFrom(r.Context())
	return req != nil && req.sampled
}

// corrected is the handler between otelhttp and the pipeline. It corrects the
// server span.
func corrected(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestFrom(r.Context())
		if !req.sampled {
			next.ServeHTTP(w, r)
			return
		}
		span := trace.SpanFromContext(r.Context())
		correct(span, r)
		if req.link.IsValid() {
			span.AddLink(trace.Link{SpanContext: req.link})
		}
		defer func() {
			// A handler aborts a response with this panic. The SDK would record it as
			// an exception, so tracedServer repeats it after the span has ended.
			if cause := recover(); cause != nil {
				if cause != http.ErrAbortHandler { //nolint:errorlint // net/http compares the value in the same way
					panic(cause)
				}
				req.aborted = true
			}
		}()
		next.ServeHTTP(w, r)
		if req.upgraded {
			w.WriteHeader(http.StatusSwitchingProtocols) // for otelhttp; upgradable does not send it
		}
	})
}

// correct overwrites attributes that otelhttp recorded. Protobuf strings must be
// UTF-8: otherwise the exporter fails for the whole batch if one client asks for
// /%FF. otelhttp takes client.address from the first address of
// X-Forwarded-For, which any client can choose.
func correct(span trace.Span, r *http.Request) {
	if path := r.URL.Path; unfit(path) {
		span.SetAttributes(semconv.URLPath(fitting(path)))
	}
	if agent := r.UserAgent(); unfit(agent) {
		span.SetAttributes(semconv.UserAgentOriginal(fitting(agent)))
	}
	if len(r.Header["X-Forwarded-For"]) > 0 {
		span.SetAttributes(semconv.ClientAddress(middleware.ClientAddress(middleware.TrustedNetworks(r.Context()), r)))
	}
}

// unfit reports whether a client's text is too long or not UTF-8.
func unfit(text string) bool { return len(text) > maxAttributeLength || !utf8.ValidString(text) }

// fitting returns a copy of at most maxAttributeLength bytes of the text. The
// SDK (v1.47) truncates by slicing, which keeps the whole text in memory.
func fitting(text string) string {
	return strings.Clone(strings.ToValidUTF8(text[:min(len(text), maxAttributeLength)], "\uFFFD"))
}

// upgradable records whether the connection was hijacked. otelhttp would record
// status 200 for it.
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
	_ = http.NewResponseController(w.ResponseWriter).Flush() // after a failed flush the next write fails too
}

// WriteHeader implements http.ResponseWriter. It does nothing after Hijack.
func (w *upgradable) WriteHeader(status int) {
	if !w.request.upgraded {
		w.ResponseWriter.WriteHeader(status)
	}
}
