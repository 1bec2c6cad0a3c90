package middleware

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// problemTypePrefix and a reason's name make the problem's type (RFC 9457
// §3.1.1). The type identifies the problem; it cannot be dereferenced.
const problemTypePrefix = "urn:tyk-proxy:problem:"

// retryAfterOutage is the Retry-After of a 503, in seconds. Most outages of a
// dependency are over within a second or two.
const retryAfterOutage = "1"

// Problem is the body of every refusal (RFC 9457).
type Problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Reason  string `json:"reason"`
	Detail  string `json:"detail,omitempty"` // of a probe only: it may tell an internal error
	TraceID string `json:"trace_id,omitempty"`
}

// writeProblem refuses a request. No other function of the pipeline does.
func writeProblem(w http.ResponseWriter, reason Reason, quota Quota, traceID string) {
	info := reason.Info()
	if info.Status == StatusClientClosedRequest {
		// Nobody reads it; it makes the HTTP metrics count a 499.
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
// the reason, and adds a Retry-After to a 503.
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
	_, _ = w.Write(body) // fails only if the client is gone
}

// bearerChallenge returns the value of WWW-Authenticate (RFC 6750 §3). It has no
// error code if the request carried no credentials.
func bearerChallenge(info ReasonInfo) string {
	const realm = `Bearer realm="tyk_proxy"`
	if info.Bearer == "" {
		return realm
	}
	return realm + `, error="` + info.Bearer + `", error_description="` + info.Title + `"`
}

// responseWriter counts what is sent, adds the gateway's own header fields to
// the final response (and not to interim 1xx responses, which empty the header
// map), and extends the write deadline while a response streams.
type responseWriter struct {
	http.ResponseWriter

	ex            *Exchange
	writeTimeout  time.Duration
	traceIDHeader string // "" for none
	traceID       string

	closing    bool // the connection is closed after the response
	status     int  // the final status; 0 until it was written
	bytes      int64
	hijacked   bool
	deadlineAt time.Time // when the write deadline was last extended
	flushers   *sync.Pool
	flusher    *flusher // of a response with a length; nil if there is none
}

// Unwrap lets http.ResponseController find the server's own writer.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if status >= http.StatusOK && w.status == 0 {
		w.status = status
		w.ownHeaders()
		h := w.Header()
		if w.closing {
			h["Connection"] = []string{"close"} // an interim response empties the map
		}
		if _, ok := h["Content-Type"]; !ok {
			h["Content-Type"] = nil // keeps net/http from guessing one
		}
		w.extendDeadline() // a late response may have no body that does
		defer w.startFlusher()
	}
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		if !w.ex.Request.ProtoAtLeast(1, 1) {
			return // HTTP/1.0 has no interim responses (RFC 9110 §15.2)
		}
		w.cleanInterim()
	}
	w.ResponseWriter.WriteHeader(status)
}

// CloseAfter makes the server close the connection after the response if the end
// of the request is in doubt. net/http ignores Transfer-Encoding in HTTP/1.0 and
// would read the bytes of such a body as the next request (RFC 9112 §6.1). twoLengths
// says that the request had a Content-Length beside a Transfer-Encoding.
func CloseAfter(w http.ResponseWriter, r *http.Request, twoLengths bool) {
	if twoLengths || !r.ProtoAtLeast(1, 1) {
		w.Header()["Connection"] = []string{"close"}
	}
}

// cleanInterim removes from an interim response what only the gateway may set and
// what is about the upstream's connection. httputil does that for final responses
// only.
func (w *responseWriter) cleanInterim() {
	h := w.Header()
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for name := range h {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Te", "Trailer":
			delete(h, name)
		default:
			if gatewayOwnsInterim(name, w.traceIDHeader) {
				delete(h, name)
			}
		}
	}
}

// gatewayOwns reports whether only the gateway may set a header field of the
// final response. Both names are in canonical form.
func gatewayOwns(name, traceIDHeader string) bool {
	return strings.HasPrefix(name, "Ratelimit") || strings.HasPrefix(name, "X-Ratelimit") || name == traceIDHeader
}

// gatewayOwnsInterim is gatewayOwns for trailers and interim responses. A
// Retry-After of the upstream belongs to its final status, and is believed only
// there.
func gatewayOwnsInterim(name, traceIDHeader string) bool {
	return name == "Retry-After" || gatewayOwns(name, traceIDHeader)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.extendDeadline()
	n, err := w.write(p)
	if w.ex.Request.Method != http.MethodHead { // net/http discards the body of a HEAD response
		w.bytes += int64(n)
	}
	return n, err
}

func (w *responseWriter) write(p []byte) (int, error) {
	if w.flusher == nil {
		return w.ResponseWriter.Write(p)
	}
	w.flusher.mu.Lock()
	defer w.flusher.mu.Unlock()
	if w.flusher.idle {
		w.flusher.idle = false
		w.flusher.timer.Reset(flushAfter)
	}
	return w.ResponseWriter.Write(p)
}

// flushAfter is how long the head or a part of the body may wait in net/http's
// buffer for the upstream to send more. A fast body is flushed no more often.
const flushAfter = 100 * time.Millisecond

// flusher sends what net/http buffers if the upstream pauses. It is pooled, so
// that a response pays for a timer's reset and not for a timer.
type flusher struct {
	mu    sync.Mutex          // net/http's writer is one goroutine's at a time
	to    http.ResponseWriter // nil if no response uses the flusher
	timer *time.Timer
	idle  bool // the timer has fired since the last write
}

// startFlusher is called when the head was written. Only an upstream pauses, and
// httputil flushes each write of a response without a length.
func (w *responseWriter) startFlusher() {
	if w.ex.Upstream.Status == 0 || w.ex.Request.Method == http.MethodHead || len(w.Header()["Content-Length"]) == 0 {
		return
	}
	f, ok := w.flushers.Get().(*flusher)
	if !ok {
		f = &flusher{}
		f.timer = time.AfterFunc(flushAfter, f.flush)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to, f.idle = w.ResponseWriter, false
	f.timer.Reset(flushAfter)
	w.flusher = f
}

// stopFlusher is called before the handler returns.
func (w *responseWriter) stopFlusher() {
	f := w.flusher
	if f == nil {
		return
	}
	f.mu.Lock()
	f.to = nil
	f.timer.Stop()
	f.mu.Unlock()
	w.flusher = nil
	w.flushers.Put(f)
}

func (f *flusher) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.to != nil {
		f.idle = true
		_ = http.NewResponseController(f.to).Flush() // the next write fails if the client is gone
	}
}

// Hijack hands the connection over for a protocol upgrade.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.ownHeaders()
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
	}
	return conn, rw, err
}

// ownHeaders sets the header fields that only the gateway may set. It replaces
// those of an upstream.
func (w *responseWriter) ownHeaders() {
	writeRateLimitHeaders(w.Header(), w.ex.Quota)
	if w.traceIDHeader != "" && w.traceID != "" {
		w.Header().Set(w.traceIDHeader, w.traceID)
	}
}

// extendDeadline extends the connection's write deadline at most once a second,
// or twice per timeout if that is shorter, so that short responses never pay for
// it.
func (w *responseWriter) extendDeadline() {
	if w.writeTimeout <= 0 {
		return
	}
	now := time.Now() // deadlines are wall-clock time, not the pipeline's clock
	if w.deadlineAt.IsZero() {
		w.deadlineAt = w.ex.Received
	}
	if now.Sub(w.deadlineAt) < min(time.Second, w.writeTimeout/2) {
		return
	}
	w.deadlineAt = now
	// Fails only if the writer has no deadlines, as httptest.ResponseRecorder.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.writeTimeout))
}

func (w *responseWriter) finalStatus() int {
	if w.hijacked {
		return http.StatusSwitchingProtocols
	}
	return w.status
}
