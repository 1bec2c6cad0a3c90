package app

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestTwoLengths checks that the connection is closed after a request with both a
// Transfer-Encoding and a Content-Length, and kept after one with a
// Transfer-Encoding alone.
func TestTwoLengths(t *testing.T) {
	r := startGateway(t, testConfig(miniredis.RunT(t).Addr(), backend(t)))
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, row := range []struct {
		name, before, fields string
		step                 int // bytes in one write; 0 means all
		answers              int
	}{
		{"both", "", chunked + "Content-Length: 5\r\n", 0, 1},
		{"both, the other order", "", "Content-Length: 5\r\n" + chunked, 0, 1},
		{"both, in another case", "", "cOnTeNt-lEnGtH: 5\r\n" + chunked, 0, 1},
		{"both, in many segments", "", "Content-Length: 5\r\n" + chunked, 7, 1},
		{"both, in a later request", "GET /health HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 5\r\n" + chunked, 0, 2},
		{"chunked", "", chunked, 0, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.gateway, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			request := row.before + "POST /x HTTP/1.1\r\nHost: h\r\n" + row.fields + "\r\n0\r\n\r\n"
			step := row.step
			if step == 0 {
				step = len(request)
			}
			for len(request) > 0 {
				n := min(step, len(request))
				_, _ = io.WriteString(conn, request[:n])
				if request = request[n:]; request != "" {
					time.Sleep(5 * time.Millisecond) // a segment of its own
				}
			}
			_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			answer, _ := io.ReadAll(conn) // a reset after the answer is no fault
			if got := bytes.Count(answer, []byte("HTTP/1.1 ")); got != row.answers {
				t.Errorf("%d answers, want %d: %q", got, row.answers, answer)
			}
		})
	}
}

// TestLengthWatch checks that the name is found however it is cut into reads.
func TestLengthWatch(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nX: content-lengt\r\nContent-Length: 5\r\n\r\n"
	for step := 1; step <= len(head); step++ {
		c := &lengthWatch{}
		for rest := []byte(head); len(rest) > 0 && !c.seen.Load(); {
			n := min(step, len(rest))
			c.look(rest[:n])
			rest = rest[n:]
		}
		if !c.seen.Load() {
			t.Errorf("not found in reads of %d bytes", step)
		}
	}
	c := &lengthWatch{}
	if c.look([]byte("Transfer-Encoding: chunked\r\nX: content-lengt\r\n")); c.seen.Load() {
		t.Error("found where it is not")
	}
}
