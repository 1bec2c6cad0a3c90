package middleware

import (
	"net/http"
	"strings"
	"testing"
)

// TestHTTP10Closes checks that the bytes after an HTTP/1.0 request are never read
// as another request.
func TestHTTP10Closes(t *testing.T) {
	for _, row := range []struct{ name, line, fields, body string }{
		{"chunked and a length", "POST /first HTTP/1.0",
			"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "15b\r\n"},
		{"chunked", "POST /first HTTP/1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", ""},
		{"kept alive", "GET /first HTTP/1.0", "Connection: keep-alive\r\n", ""},
		{"neither", "GET /first HTTP/1.0", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := newUpstream(t, plainOK)
			g := newGateway(t, upstream.url, nil)
			smuggled := g.head("GET /smuggled HTTP/1.1", "Connection: close\r\n")
			raw := exchange(t, g.addr, g.head(row.line, row.fields)+row.body+smuggled)
			if strings.Count(raw, "HTTP/1.") != 1 || !strings.Contains(raw, "\r\nConnection: close\r\n") {
				t.Errorf("got %q", raw)
			}
			if head := upstream.seen(t); !strings.Contains(head, " /first ") {
				t.Errorf("the upstream received %q", head)
			}
			upstream.untouched(t)
		})
	}
}

// TestHTTP10HasNoInterimResponses checks that an HTTP/1.0 client gets the final
// response only, and that the upstream is not asked to send 100 Continue.
func TestHTTP10HasNoInterimResponses(t *testing.T) {
	for _, row := range []struct{ line, fields, body string }{
		{"GET /x HTTP/1.0", "", ""},
		{"POST /x HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 2\r\n", "hi"},
	} {
		upstream := newUpstream(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+plainOK)
		g := newGateway(t, upstream.url, nil)
		raw := exchange(t, g.addr, g.head(row.line, row.fields)+row.body)
		if !strings.HasPrefix(raw, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(raw, "\r\n\r\nok") {
			t.Errorf("%s: got %q", row.line, raw)
		}
		if head := upstream.seen(t); strings.Contains(head, "Expect") {
			t.Errorf("%s: the upstream received %q", row.line, head)
		}
	}
}

// TestUpgradeNeedsGET checks that only a GET of HTTP/1.1 is forwarded as an upgrade.
func TestUpgradeNeedsGET(t *testing.T) {
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for _, line := range []string{
		"GET /x HTTP/1.0", "HEAD /x HTTP/1.1", "POST /x HTTP/1.1", "PUT /x HTTP/1.1", "DELETE /x HTTP/1.1", "OPTIONS /x HTTP/1.1",
	} {
		upstream := newUpstream(t, plainOK)
		g := newGateway(t, upstream.url, nil)
		conn := dial(t, g.addr)
		if _, err := conn.Write([]byte(g.head(line, upgrade))); err != nil {
			t.Fatal(err)
		}
		if head := upstream.seen(t); strings.Contains(head, "Upgrade") {
			t.Errorf("%s: the upstream received %q", line, head)
		}
		if d := g.journal.wait(t); d.Status != http.StatusOK {
			t.Errorf("%s: status %d", line, d.Status)
		}
	}
}
