package middleware

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// problemTypePrefix and a reason's name make the problem's type (RFC 9457
// §3.1.1). It identifies, it does not locate.
const problemTypePrefix = "urn:tyk-proxy:problem:"

// forwardableMethods are the methods the gateway forwards, as the Allow header
// of a 405 lists them (RFC 9110 §10.2.1).
const forwardableMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// retryAfterOutage is the Retry-After of a 503, in seconds: dependencies that
// come back mostly do so within a second or two.
const retryAfterOutage = "1"

// Problem is the body of every refusal (RFC 9457).
type Problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Reason  string `json:"reason"`
	TraceID string `json:"trace_id,omitempty"`
}

// writeProblem is the one place that refuses a request.
func writeProblem(w http.ResponseWriter, reason Reason, quota Quota, traceID string) {
	info := reason.Info()
	if info.Status == StatusClientClosedRequest {
		// Nobody reads it; it is written so that HTTP metrics count it as 499.
		w.WriteHeader(info.Status)
		return
	}
	h := w.Header()
	switch info.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", bearerChallenge(info))
	case http.StatusMethodNotAllowed:
		h.Set("Allow", forwardableMethods)
	case http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(int(quota.RetryAfter().Seconds())))
	}
	WriteProblem(w, Problem{Title: info.Title, Status: info.Status, Reason: info.Name, TraceID: traceID})
}

// WriteProblem writes a problem as the whole response. It derives the type from
// the reason, and tells the client of a 503 when to come back.
func WriteProblem(w http.ResponseWriter, p Problem) {
	p.Type = problemTypePrefix + p.Reason
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and an int cannot fail to marshal
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfterOutage)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that is gone cannot be told
}

// bearerChallenge builds the WWW-Authenticate value (RFC 6750 §3): without an
// error code where the request carried no credentials at all.
func bearerChallenge(info ReasonInfo) string {
	const realm = `Bearer realm="tyk_proxy"`
	if info.Bearer == "" {
		return realm
	}
	return realm + `, error="` + info.Bearer + `", error_description="` + info.Title + `"`
}

// wholeSeconds rounds up to whole seconds and never below one: a client that
// obeys it must not come back inside the same window.
func wholeSeconds(d time.Duration) int64 {
	return max(1, int64((d+time.Second-1)/time.Second))
}
