package telemetry

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// informed stands between otelhttp and the pipeline and tells otelhttp what it
// would get wrong by itself.
func informed(next http.Handler, trusted []netip.Prefix) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := requestTraceFrom(r.Context())
		if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
			correct(span, r, trusted)
		}
		defer func() {
			// A panic would skip its metrics, and a backend that breaks off its
			// responses would be seen nowhere: let it pass outside.
			if cause := recover(); cause != nil {
				if cause != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
					panic(cause)
				}
				t.aborted = true
			}
		}()
		next.ServeHTTP(w, r)
		if t.upgraded {
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

// upgradable remembers that a connection was handed over: otelhttp would count
// it as a 200.
type upgradable struct {
	http.ResponseWriter

	request *requestTrace
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
