package app

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/sirupsen/logrus"
	logged "github.com/sirupsen/logrus/hooks/test"
)

// net/http refuses malformed requests with plain text, and without a reason, a
// trace or a log line. OPERATING.md says so.
func TestMalformedHTTP(t *testing.T) {
	logger, hook := logged.NewNullLogger()
	logger.SetLevel(logrus.DebugLevel)
	r := startLogged(t, testConfig(miniredis.RunT(t).Addr(), backend(t)), logger)
	for request, status := range map[string]int{
		"GET /a%zz HTTP/1.1\r\nHost: x\r\n": 400,
		"GET /a HTTP/1.1\r\n":               400,
		"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n":          400,
		"GET /a HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n": 431,
	} {
		answer := sendRaw(t, strings.TrimPrefix(r.gateway, "http://"), request+"\r\n")
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", status)) || !strings.Contains(head, "text/plain") ||
			strings.Contains(head, "X-Trace-Id") || strings.Contains(body, "reason") {
			t.Errorf("%.40q: %s, want a plain %d", request, answer, status)
		}
	}
	for _, entry := range hook.AllEntries() {
		if entry.Message == "gateway.decision" {
			t.Errorf("a line in the log: %v", entry.Data)
		}
	}
}

// sendRaw sends bytes and returns the answer until the connection closes.
func sendRaw(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may close the connection before it has read everything.
	_, _ = io.WriteString(conn, request)
	answer, _ := io.ReadAll(conn)
	return string(answer)
}
