package middleware

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
)

// shutdownRow is a request that the gateway's own stop ends.
type shutdownRow struct {
	name   string
	answer func(net.Conn)
	status int // of the line the client gets
	want   Reason
}

func shutdownRows() []shutdownRow {
	block := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	return []shutdownRow{
		{"no answer yet", block, http.StatusServiceUnavailable, ShuttingDown},
		{"a stream", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
			block(conn)
		}, http.StatusOK, ShuttingDown},
	}
}

// What the stop cuts is not blamed on the client.
func TestShutdownIsNotTheClientsDoing(t *testing.T) {
	for _, row := range shutdownRows() {
		t.Run(row.name, func(t *testing.T) {
			base, stop := context.WithCancelCause(t.Context())
			asked := make(chan struct{})
			backend := newUpstreamFunc(t, func(conn net.Conn) {
				close(asked)
				row.answer(conn)
			})
			g := newGateway(t, backend.url, func(c gatewayConfig) {
				c.server.BaseContext = func(net.Listener) context.Context { return base }
			})
			conn := dial(t, g.addr)
			if _, err := io.WriteString(conn, g.head("GET / HTTP/1.1", "")); err != nil {
				t.Fatal(err)
			}
			<-asked
			reader := bufio.NewReader(conn)
			if row.status == http.StatusOK { // wait until the stream has begun
				if _, err := reader.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			stop(ErrShuttingDown)
			answer, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != row.status {
				t.Errorf("status %d, want %d", answer.StatusCode, row.status)
			}
			checkReason(t, g.journal.wait(t).Outcome, row.want)
		})
	}
}
