package middleware

import "net/http/httputil"

// forwardedHeaders tells the backend where the request came from: what is left
// of that behind [TrustBoundary] was said by a trusted peer, so it is extended
// and not replaced.
func forwardedHeaders(pr *httputil.ProxyRequest) {
	// The instrumented transport writes the trace context anew.
	delete(pr.Out.Header, "Traceparent")
	delete(pr.Out.Header, "Tracestate")
	if prior := pr.In.Header["X-Forwarded-For"]; len(prior) > 0 {
		pr.Out.Header["X-Forwarded-For"] = prior // SetXForwarded appends the peer
	}
	pr.SetXForwarded()
	for _, name := range [...]string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if prior := pr.In.Header.Get(name); prior != "" {
			pr.Out.Header[name] = []string{prior}
		}
	}
}
