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

// A request ends with its final status or with that of the connection's
// hand-over, not with that of an interim answer or of a try.
func TestFinalStatus(t *testing.T) {
	conn, _ := net.Pipe()
	t.Cleanup(func() { _ = conn.Close() })
	handOver := func(w http.ResponseWriter) { _, _, _ = http.NewResponseController(w).Hijack() }
	for name, row := range map[string]struct {
		send func(http.ResponseWriter)
		conn net.Conn
		want int
	}{
		"nothing":        {func(http.ResponseWriter) {}, nil, 0},
		"interim":        {func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, nil, 0},
		"final":          {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, nil, http.StatusNoContent},
		"body alone":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, nil, http.StatusOK},
		"hand-over":      {handOver, conn, http.StatusSwitchingProtocols},
		"vain hand-over": {handOver, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ended := newJournal()
			pipeline := NewPipeline(PipelineConfig{
				Observer: ended,
				Forwarder: forwardFunc(func(_ context.Context, w http.ResponseWriter, _ *Exchange) Outcome {
					row.send(w)
					return Outcome{Reason: Forwarded}
				}),
			})
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			pipeline.ServeHTTP(hijackable{httptest.NewRecorder(), row.conn}, request)
			if got := ended.wait(t).Status; got != row.want {
				t.Errorf("the request ended with status %d, want %d", got, row.want)
			}
		})
	}
}
