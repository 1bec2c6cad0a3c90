package middleware

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func newSilentLog() *log.Logger { return log.New(io.Discard, "", 0) }

// abortRow is an exchange that ends before the response is complete.
type abortRow struct {
	name   string
	answer func(net.Conn)
	client func(*testing.T, *net.TCPConn)
	want   Reason
	status int // of the result
}

func abortRows() []abortRow {
	const head = "HTTP/1.1 200 OK\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
	const long = head + "Content-Length: 16000\r\n\r\n"
	block := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	readsOn := func(t *testing.T, conn *net.TCPConn) {
		t.Helper()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		// A clean end would make the client accept half a body.
		if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(body), "half") {
			t.Errorf("the client read %d bytes, %v", len(body), err)
		}
	}
	readsAll := func(t *testing.T, conn *net.TCPConn) {
		t.Helper()
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("got %v, %v", resp, err)
		}
	}
	leaves := func(_ *testing.T, conn *net.TCPConn) { conn.Close() }
	leavesAfterTheHead := func(t *testing.T, conn *net.TCPConn) {
		t.Helper()
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
	stalls := func(*testing.T, *net.TCPConn) {}
	return []abortRow{
		{"nobody", says(plainOK), readsAll, Forwarded, http.StatusOK},
		{"upstream dies, length known", says(long + strings.Repeat("half", 3000)), readsOn, UpstreamAborted, http.StatusOK},
		{"upstream dies soon, length known", says(long + "half"), readsOn, UpstreamAborted, http.StatusOK},
		{"upstream dies in a chunk", says(chunked + "64\r\nhalf"), readsOn, UpstreamAborted, http.StatusOK},
		{"upstream dies between chunks", says(chunked + "4\r\nhalf\r\n"), readsOn, UpstreamAborted, http.StatusOK},
		{"upstream sends a bad chunk", says(chunked + "4\r\nhalf\r\nzz\r\n"), readsOn, UpstreamAborted, http.StatusOK},
		{"client leaves before the answer", block, leaves, ClientCanceled, StatusClientClosedRequest},
		{"client leaves during the answer", func(conn net.Conn) {
			says(chunked + "4\r\nhalf\r\n")(conn)
			block(conn)
		}, leavesAfterTheHead, ClientCanceled, http.StatusOK},
		{"client does not read", func(conn net.Conn) {
			says(head + "\r\n")(conn)
			_, _ = io.Copy(conn, endless{})
		}, stalls, ClientCanceled, http.StatusOK},
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAborts(t *testing.T) {
	for _, row := range abortRows() {
		t.Run(row.name, func(t *testing.T) {
			upstream := newUpstreamFunc(t, row.answer)
			g := newGateway(t, upstream.url, func(c gatewayConfig) {
				c.server.WriteTimeout, c.pipeline.WriteTimeout = 400*time.Millisecond, 400*time.Millisecond
			})
			conn := dial(t, g.addr)
			// A small buffer, so that writes to a client that does not read soon block.
			if err := conn.SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, g.head("GET /x HTTP/1.1", "")); err != nil {
				t.Fatal(err)
			}
			upstream.seen(t)
			row.client(t, conn)
			d := g.journal.wait(t)
			checkReason(t, d.Outcome, row.want)
			if d.Status != row.status || d.Stage != StageProxy || (d.Outcome.Err == nil) != (row.want == Forwarded) {
				t.Errorf("result %+v", d)
			}
		})
	}
}

// TestUpstreamDiesDuringUpload checks that the reason blames the upstream and not
// the client, whose body could still be read.
func TestUpstreamDiesDuringUpload(t *testing.T) {
	upstream := newUpstreamFunc(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) })
	g := newGateway(t, upstream.url, nil)
	for range 20 {
		body := io.LimitReader(endless{}, 8<<20)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/x", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+g.token)
		// The client may fail to read the answer while it still writes; only the
		// gateway's result counts.
		if resp, err := g.Client().Do(r); err == nil {
			resp.Body.Close()
		}
		upstream.seen(t)
		if d := g.journal.wait(t); d.Outcome.Verdict() != Fail || d.Status != http.StatusBadGateway {
			t.Fatalf("%s (%v), status %d", d.Outcome.Reason, d.Outcome.Err, d.Status)
		}
	}
}

// TestRefusalBeforeTheUpload checks that a client which waits for 100-continue gets
// a refusal instead.
func TestRefusalBeforeTheUpload(t *testing.T) {
	upstream := newUpstream(t, plainOK)
	g := newGateway(t, upstream.url, nil)
	conn := dial(t, g.addr)
	if _, err := io.WriteString(conn, "POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || !resp.Close {
		t.Errorf("status %d, connection closed: %v", resp.StatusCode, resp.Close)
	}
	conn.Close() // lets the server stop waiting for the body
	upstream.untouched(t)
}

// shutdownRow is a request that is ended by the stop of the gateway.
type shutdownRow struct {
	name   string
	answer func(net.Conn)
	status int // that the client gets
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

// TestShutdownReason checks that a request ended by the stop of the gateway is not
// reported as cancelled by the client.
func TestShutdownReason(t *testing.T) {
	for _, row := range shutdownRows() {
		t.Run(row.name, func(t *testing.T) {
			base, stop := context.WithCancelCause(t.Context())
			asked := make(chan struct{})
			upstream := newUpstreamFunc(t, func(conn net.Conn) {
				close(asked)
				row.answer(conn)
			})
			g := newGateway(t, upstream.url, func(c gatewayConfig) {
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
