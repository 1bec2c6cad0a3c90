package middleware

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// responseWriter counts what is sent, adds the gateway's own headers to the
// final response only (an interim 1xx response empties the header map), and
// keeps the write deadline rolling for responses that stream.
type responseWriter struct {
	http.ResponseWriter

	ex            *Exchange
	writeTimeout  time.Duration
	traceIDHeader string // "" for none
	traceID       string

	status     int // the final status; 0 until it was written
	bytes      int64
	hijacked   bool
	deadlineAt time.Time // when the write deadline was last moved
	forwardErr error     // what the forwarder's transport reported
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if status >= http.StatusOK && w.status == 0 {
		w.status = status
		w.ownHeaders()
		h := w.Header()
		if _, ok := h["Content-Type"]; !ok {
			h["Content-Type"] = nil // net/http must not guess what the upstream did not say
		}
		w.rollDeadline() // a late response may have no body to roll it
	}
	if status < http.StatusOK && w.traceIDHeader != "" {
		w.Header().Del(w.traceIDHeader) // of an interim response, where ours is not set
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.rollDeadline()
	n, err := w.ResponseWriter.Write(p)
	if w.ex.Request.Method != http.MethodHead { // the server takes those bytes and sends none
		w.bytes += int64(n)
	}
	return n, err
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

// ownHeaders sets the headers that are the gateway's to set, whatever an upstream
// said.
func (w *responseWriter) ownHeaders() {
	writeRateLimitHeaders(w.Header(), w.ex.Quota)
	if w.traceIDHeader != "" && w.traceID != "" {
		w.Header().Set(w.traceIDHeader, w.traceID)
	}
}

// rollDeadline moves the connection's write deadline at most once a second (or
// twice per timeout, where that is shorter), so that short responses never pay
// for it.
func (w *responseWriter) rollDeadline() {
	if w.writeTimeout <= 0 {
		return
	}
	now := time.Now() // the connection's deadline is wall-clock time, not the pipeline's clock
	if w.deadlineAt.IsZero() {
		w.deadlineAt = w.ex.Received
	}
	if now.Sub(w.deadlineAt) < min(time.Second, w.writeTimeout/2) {
		return
	}
	w.deadlineAt = now
	// A writer without deadlines (a test's) streams without them.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.writeTimeout))
}

func (w *responseWriter) finalStatus() int {
	if w.hijacked {
		return http.StatusSwitchingProtocols
	}
	return w.status
}
