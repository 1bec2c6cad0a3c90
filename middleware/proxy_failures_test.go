package middleware

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upstreamRow is a failure of an upstream and the expected reason.
type upstreamRow struct {
	name   string
	answer func(net.Conn)
	want   Reason
}

func says(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

func upstreamRows() []upstreamRow {
	const switching = "HTTP/1.1 101 Switching Protocols\r\n"
	return []upstreamRow{
		{"refuses the connection", nil, UpstreamUnreachable},
		{"closes without an answer", says(""), UpstreamAborted},
		{"resets", func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }, UpstreamAborted},
		{"is silent", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, UpstreamTimeout},
		{"stops in its headers", func(conn net.Conn) {
			says("HTTP/1.1 200 OK\r\nX-A:")(conn)
			_, _ = io.Copy(io.Discard, conn)
		}, UpstreamTimeout},
		{"does not speak HTTP", says("SSH-2.0-OpenSSH\r\n\r\n"), UpstreamInvalid},
		{"breaks off in its headers", says("HTTP/1.1 200 OK\r\nX-A: b\r\n"), UpstreamAborted},
		{"sends a bad length", says("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), UpstreamInvalid},
		{"sends two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"), UpstreamInvalid},
		{"sends status 0", says("HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n"), UpstreamInvalid},
		{"sends status 99", says("HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"), UpstreamInvalid},
		{"sends 1 MiB of headers", says("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"), UpstreamInvalid},
		{"sends interim responses only", says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n", 20)), UpstreamAborted},
		{"switches protocols unasked", says(switching + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), UpstreamInvalid},
		{"switches to nothing unasked", says(switching + "\r\nsmuggled"), UpstreamInvalid},
	}
}

func TestUpstreamFailures(t *testing.T) {
	for _, row := range upstreamRows() {
		t.Run(row.name, func(t *testing.T) {
			target := "http://127.0.0.1:1" // tcpmux, on which nothing listens
			if row.answer != nil {
				target = newUpstreamFunc(t, row.answer).url
			}
			g := newGateway(t, target, func(c gatewayConfig) {
				c.transport.ResponseHeaderTimeout = 200 * time.Millisecond
				c.transport.MaxResponseHeaderBytes = 16 << 10
			})
			resp := g.get(t, "/x")
			checkRefusal(t, g, resp, row.want)
		})
	}
}

// checkRefusal checks that the client and the observer get the same reason.
func checkRefusal(t *testing.T, g *gateway, resp *http.Response, want Reason) {
	t.Helper()
	var problem Problem
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
		t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	d := g.journal.wait(t)
	checkReason(t, d.Outcome, want)
	if problem.Reason != want.String() || resp.StatusCode != want.Info().Status || d.Status != resp.StatusCode || d.Stage != StageProxy {
		t.Errorf("the client got %d %s, the observer %d %s by %s", resp.StatusCode, problem.Reason, d.Status, d.Outcome.Reason, d.Stage)
	}
	if d.Outcome.Err == nil {
		t.Error("the outcome has no error")
	}
	if got := resp.Header.Get("RateLimit"); got != `"default";r=9;t=42` {
		t.Errorf("RateLimit %q", got)
	}
}

func TestUpstreamCertificate(t *testing.T) {
	upstream := httptest.NewUnstartedServer(http.NotFoundHandler())
	upstream.Config.ErrorLog = newSilentLog()
	upstream.StartTLS()
	defer upstream.Close()
	g := newGateway(t, upstream.URL, nil)
	checkRefusal(t, g, g.get(t, "/x"), UpstreamUnreachable)
}

// bodyRow is a request body that cannot be read.
type bodyRow struct {
	name   string
	fields string
	body   string
	close  bool // half-close after the body
	want   Reason
}

func bodyRows() []bodyRow {
	const chunked = "Transfer-Encoding: chunked\r\n"
	return []bodyRow{
		{"negative chunk", chunked, "-5\r\nhello\r\n0\r\n\r\n", false, RequestBodyInvalid},
		{"hexadecimal prefix", chunked, "0x5\r\nhello\r\n0\r\n\r\n", false, RequestBodyInvalid},
		{"space in the size", chunked, "5 5\r\nhello\r\n0\r\n\r\n", false, RequestBodyInvalid},
		{"huge size", chunked, "fffffffffffffffff\r\nhello\r\n0\r\n\r\n", false, RequestBodyInvalid},
		{"no line end after the data", chunked, "5\r\nhelloXX0\r\n\r\n", false, RequestBodyInvalid},
		{"good, then bad", chunked, "5\r\nhello\r\nx\r\n", false, RequestBodyInvalid},
		{"closed in a chunk", chunked, "5\r\nhel", true, RequestBodyInvalid},
		{"closed between chunks", chunked, "5\r\nhello\r\n", true, RequestBodyInvalid},
		{"closed before its length", "Content-Length: 10\r\n", "hello", true, RequestBodyInvalid},
		{"slow", "Content-Length: 10\r\n", "h", false, RequestBodyTimeout},
		{"slow in chunks", chunked, "5\r\nhello\r\n", false, RequestBodyTimeout},
		{"too large, length known", "Content-Length: 101\r\n", "", false, RequestBodyTooLarge},
		{"too large in chunks", chunked, strings.Repeat("33\r\n"+strings.Repeat("x", 51)+"\r\n", 2), false, RequestBodyTooLarge},
	}
}

func TestBadBodies(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer upstream.Close()
	for _, row := range bodyRows() {
		t.Run(row.name, func(t *testing.T) {
			g := newGateway(t, upstream.URL, func(c gatewayConfig) {
				c.server.ReadTimeout, c.proxy.MaxBodyBytes = 300*time.Millisecond, 100
			})
			conn := dial(t, g.addr)
			if _, err := io.WriteString(conn, g.head("POST /x HTTP/1.1", row.fields)+row.body); err != nil {
				t.Fatal(err)
			}
			if row.close {
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			reader := bufio.NewReader(conn)
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			checkRefusal(t, g, resp, row.want)
			// The connection is closed, because its next bytes may belong to the body.
			rest, err := io.ReadAll(reader)
			if len(rest) != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after the refusal: %q, %v", rest, err)
			}
		})
	}
}

// TestBodyOfTheLimit checks that a body as large as the limit is forwarded, with a
// length or in chunks.
func TestBodyOfTheLimit(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer upstream.Close()
	body := strings.Repeat("x", 100)
	for _, framed := range []string{
		"Content-Length: 100\r\n\r\n" + body, "Transfer-Encoding: chunked\r\n\r\n64\r\n" + body + "\r\n0\r\n\r\n",
	} {
		g := newGateway(t, upstream.URL, func(c gatewayConfig) { c.proxy.MaxBodyBytes = 100 })
		head := strings.TrimSuffix(g.head("POST /x HTTP/1.1", "Connection: close\r\n"), "\r\n")
		if raw := exchange(t, g.addr, head+framed); !strings.HasPrefix(raw, "HTTP/1.1 200 ") || !strings.Contains(raw, body) {
			t.Errorf("got %q", raw)
		}
	}
}

// fieldsRow is a request with a number of header fields.
type fieldsRow struct {
	name   string
	fields string
	want   Reason
}

// fieldsRows add to Authorization, which counts too.
func fieldsRows() []fieldsRow {
	different := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: 1\r\n", i)
		}
		return b.String()
	}
	return []fieldsRow{
		{"100", different(99), Forwarded},
		{"101", different(100), HeadersTooMany},
		{"101 of one name", strings.Repeat("X: 1\r\n", 100), HeadersTooMany},
		{"1000", different(999), HeadersTooMany},
		{"an empty Host", "", HostMissing},
	}
}

func TestHeaderFields(t *testing.T) {
	for _, row := range fieldsRows() {
		t.Run(row.name, func(t *testing.T) {
			upstream := newUpstream(t, plainOK)
			g := newGateway(t, upstream.url, nil)
			conn := dial(t, g.addr)
			head := g.head("GET /x HTTP/1.1", row.fields)
			if row.want == HostMissing {
				head = strings.Replace(head, "client.example", "", 1)
			}
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			d := g.journal.wait(t)
			checkReason(t, d.Outcome, row.want)
			if row.want != Forwarded {
				upstream.untouched(t)
			}
			if want := row.want.Info().Status; resp.StatusCode != d.Status || want != 0 && want != d.Status {
				t.Errorf("status %d, result %+v", resp.StatusCode, d)
			}
		})
	}
}
