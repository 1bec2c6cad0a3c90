package middleware

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// hijackable is a writer whose connection can be handed over, if there is one.
type hijackable struct {
	*httptest.ResponseRecorder

	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.conn == nil {
		return nil, nil, http.ErrNotSupported
	}
	return h.conn, nil, nil
}

// TestSentStatus: a response has begun with its final status or with the
// connection's hand-over, not with an interim answer or a try.
func TestSentStatus(t *testing.T) {
	conn, _ := net.Pipe()
	t.Cleanup(func() { _ = conn.Close() })
	handOver := func(w http.ResponseWriter) { _, _, _ = http.NewResponseController(w).Hijack() }
	for name, row := range map[string]struct {
		send func(http.ResponseWriter)
		conn net.Conn
		want int64
	}{
		"nothing":        {func(http.ResponseWriter) {}, nil, 0},
		"interim":        {func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, nil, 0},
		"final":          {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, nil, http.StatusNoContent},
		"body alone":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, nil, http.StatusOK},
		"hand-over":      {handOver, conn, http.StatusSwitchingProtocols},
		"vain hand-over": {handOver, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after int64
			pipeline := NewPipeline(PipelineConfig{
				Observer: newJournal(),
				Forwarder: forwardFunc(func(_ context.Context, w http.ResponseWriter, ex *Exchange) Outcome {
					before = ex.SentStatus.Load()
					row.send(w)
					after = ex.SentStatus.Load()
					return Outcome{Reason: Forwarded}
				}),
			})
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			pipeline.ServeHTTP(hijackable{httptest.NewRecorder(), row.conn}, request)
			if before != 0 || after != row.want {
				t.Errorf("%d, then %d, want 0, then %d", before, after, row.want)
			}
		})
	}
}
