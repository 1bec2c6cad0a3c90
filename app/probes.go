package app

import (
	"io"
	"net/http"

	"tyk_proxy/middleware"
)

// Reasons why the gateway is not ready.
const (
	notReadyDraining = "draining"
	notReadyStore    = "store_unavailable"
)

// probes answers /health and /ready and passes all other requests on. It compares
// the escaped path, because http.ServeMux would redirect paths about which the
// pipeline must decide.
func (g *Gateway) probes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/health":
			g.probe(w, r, "", nil)
		case "/ready":
			reason, err := g.notReady(r)
			g.probe(w, r, reason, err)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// notReady returns the reason why the gateway is not ready, or "", and the cause.
func (g *Gateway) notReady(r *http.Request) (reason string, cause error) {
	if g.draining.Load() {
		return notReadyDraining, nil
	}
	if err := g.checkStore(r.Context()); err != nil {
		return notReadyStore, err
	}
	return "", nil
}

// probe answers a probe: 200 if reason is "", else 503. The cause, such as what
// Redis replied, is part of the answer, because -healthcheck prints it and an
// operator looks there first.
func (g *Gateway) probe(w http.ResponseWriter, r *http.Request, reason string, cause error) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // a cached answer would hide an outage
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
	case reason == "":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "Ok")
	default:
		problem := middleware.Problem{
			Title:  "The gateway is not ready.",
			Status: http.StatusServiceUnavailable,
			Reason: reason,
		}
		if cause != nil {
			problem.Detail = middleware.Redact(cause.Error())
		}
		middleware.WriteProblem(w, problem)
	}
}
