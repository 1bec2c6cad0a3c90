package lean

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// answered is what the upstream sends and what the caller gets.
type answered struct {
	name   string
	method string // GET if empty
	answer string
	closes bool // the upstream closes the connection after the answer
	want   string
	reused bool // the next request goes over the same connection
}

const limit = 4 << 10 // of the heads in these tests, in bytes

func wholeAnswers() []answered {
	const ok = "HTTP/1.1 200 OK\r\n"
	return []answered{
		{name: "length", answer: ok + "Content-Length: 5\r\n\r\nhello", want: `200 "hello"`, reused: true},
		{name: "length 0", answer: ok + "Content-Length: 0\r\n\r\n", want: `200 ""`, reused: true},
		{name: "no reason phrase", answer: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", want: `200 ""`, reused: true},
		{name: "equal lengths", answer: ok + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", want: `200 "hi"`, reused: true},
		{name: "chunked", answer: ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
			want: `200 "abcde"`, reused: true},
		{name: "chunked overrides length", want: `200 "abc"`, reused: true,
			answer: ok + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{name: "announced trailer", want: `200 "abc" map[X-Sum:[7]]`, reused: true,
			answer: ok + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"},
		{name: "trailer that was not announced", want: `200 "" map[X-Sum:[7]]`, reused: true,
			answer: ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n"},
		{name: "announced trailer that does not come", want: `200 "" map[X-Sum:[]]`, reused: true,
			answer: ok + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{name: "HEAD", method: http.MethodHead, answer: ok + "Content-Length: 5\r\n\r\n", want: `200 "" of 5`, reused: true},
		{name: "HEAD, chunked", method: http.MethodHead, answer: ok + "Transfer-Encoding: chunked\r\n\r\n", want: `200 ""`, reused: true},
		{name: "HEAD, no length", method: http.MethodHead, answer: ok + "\r\n", want: `200 ""`, reused: true},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", want: `204 ""`, reused: true},
		{name: "204, chunked", answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", want: `204 ""`, reused: true},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", want: `304 ""`, reused: true},
		{name: "Connection: close", answer: ok + "Connection: close\r\nContent-Length: 2\r\n\r\nhi", want: `200 "hi"`},
		{name: "Connection: close, no body", answer: ok + "Connection: close\r\nContent-Length: 0\r\n\r\n", want: `200 ""`},
		{name: "until the connection closes", answer: ok + "\r\nhello", closes: true, want: `200 "hello"`},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\n\r\nhello", closes: true, want: `200 "hello"`},
		{name: "HTTP/1.0 with a length", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", want: `200 "hi"`},
		{name: "HTTP/1.0, kept alive", want: `200 "hi"`, reused: true,
			answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"},
		{name: "HTTP/1.0, chunked is not known", closes: true, want: `200 "0\r\n\r\n"`,
			answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{name: "100", answer: "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n", want: `200 ""`, reused: true},
		{name: "103", answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
			want: `200 ""`, reused: true},
		{name: "head of the greatest length", want: `200 "hi"`, reused: true,
			answer: ok + "X: " + strings.Repeat("x", limit-100) + "\r\nContent-Length: 2\r\n\r\nhi"},
	}
}

func brokenAnswers() []answered {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	return []answered{
		{name: "nothing", closes: true, want: "EOF"},
		{name: "truncated status line", answer: "HTTP/1.1 20", closes: true, want: "invalid"},
		{name: "truncated head", answer: ok + "Content-Length: 5\r\n", closes: true, want: "unexpected EOF"},
		{name: "truncated body", answer: ok + "Content-Length: 5\r\n\r\nhel", closes: true, want: `200 "hel" of 5 unexpected EOF`},
		{name: "truncated chunk", answer: chunked + "5\r\nhel", closes: true, want: `200 "hel" unexpected EOF`},
		{name: "truncated between chunks", answer: chunked + "3\r\nhel\r\n", closes: true, want: `200 "hel" unexpected EOF`},
		{name: "truncated trailer", answer: chunked + "3\r\nhel\r\n0\r\nX-Sum: 7", closes: true, want: `200 "hel" invalid`},
		{name: "chunk size that is no number", answer: chunked + "xyz\r\nhel\r\n0\r\n\r\n", want: `200 "" invalid`},
		{name: "chunk size that is too great", answer: chunked + "fffffffffffffffff\r\nhel\r\n0\r\n\r\n", want: `200 "" invalid`},
		{name: "chunk size, bare LF", answer: chunked + "3\nhel\r\n0\r\n\r\n", want: `200 "" invalid`},
		{name: "chunk longer than its size", answer: chunked + "3\r\nhello\r\n0\r\n\r\n", want: `200 "hel" invalid`},
		{name: "chunk extension without end", answer: chunked + "3;" + strings.Repeat("x", 9000) + "\r\nhel\r\n0\r\n\r\n",
			want: `200 "" invalid`},
		{name: "trailer without end", answer: chunked + "0\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", want: `200 "" invalid`},
		{name: "trailer that changes the framing", want: "invalid",
			answer: ok + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{name: "not HTTP", answer: "SSH-2.0-OpenSSH\r\n\r\n", want: "invalid"},
		{name: "status that is no number", answer: "HTTP/1.1 2x0 OK\r\n\r\n", want: "invalid"},
		{name: "version that is none", answer: "HTTP/x.1 200 OK\r\n\r\n", want: "invalid"},
		{name: "field without a colon", answer: ok + "nonsense\r\n\r\n", want: "invalid"},
		{name: "space before the colon", answer: ok + "Content-Length : 2\r\n\r\nhello", closes: true, want: `200 "hello"`},
		{name: "length that is no number", answer: ok + "Content-Length: 5x\r\n\r\nhello", want: "invalid"},
		{name: "negative length", answer: ok + "Content-Length: -1\r\n\r\nhello", want: "invalid"},
		{name: "lengths that differ", answer: ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", want: "invalid"},
		{name: "unknown encoding", answer: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", want: "invalid"},
		{name: "two encodings", answer: ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", want: "invalid"},
		{name: "head without end", answer: ok + "X: " + strings.Repeat("x", 2*limit) + "\r\n\r\n", want: "invalid"},
		{name: "status line without end", answer: "HTTP/1.1 200 " + strings.Repeat("x", 2*limit), want: "invalid"},
		{name: "1xx without end", answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", limit/10), want: "invalid"},
	}
}

// trailedAnswers are answers with trailing bytes, which must not become the answer
// to another request.
func trailedAnswers() []answered {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	return []answered{
		{name: "more than the length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + evil, want: `200 "hi"`},
		{name: "more than no length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + evil, want: `200 ""`},
		{name: "a line break too many", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\r\n", want: `200 "hi"`},
		{name: "more than the last chunk", want: `200 ""`,
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil},
		{name: "a body with HEAD", method: http.MethodHead, answer: "HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n" + evil,
			want: `200 "" of 47`},
		{name: "a body with 204", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 47\r\n\r\n" + evil, want: `204 ""`},
		{name: "a body with 304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 47\r\n\r\n" + evil, want: `304 ""`},
	}
}

func TestAnswers(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		for _, row := range append(append(wholeAnswers(), brokenAnswers()...), trailedAnswers()...) {
			t.Run(row.name, func(t *testing.T) {
				o := newUpstream(t, always(row.answer, row.closes))
				transport := newTransport(t, o.url, func(f *http.Transport) { f.MaxResponseHeaderBytes = limit })
				for range 2 {
					if got := ask(t.Context(), t, transport, row.method, o.url); got != row.want {
						t.Errorf("got %s, want %s", got, row.want)
					}
					// net/http notices trailing bytes on another goroutine.
					time.Sleep(10 * time.Millisecond)
				}
				if reused := o.accepted.Load() == 1; reused != row.reused {
					t.Errorf("the connection was reused: %t, want %t", reused, row.reused)
				}
			})
		}
	})
}

// TestInformational checks that a trace sees each informational response, and that
// the limit applies to each of them.
func TestInformational(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		hint := "HTTP/1.1 103 Early Hints\r\nLink: </" + strings.Repeat("x", limit/2) + ">\r\n\r\n"
		o := newUpstream(t, always(strings.Repeat(hint, 20)+"HTTP/1.1 204 No Content\r\n\r\n", false))
		transport := newTransport(t, o.url, func(f *http.Transport) { f.MaxResponseHeaderBytes = limit })
		seen, refuse := 0, error(nil)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				if seen++; code != http.StatusEarlyHints || header.Get("Link") == "" {
					t.Errorf("got %d %v", code, header)
				}
				return refuse
			},
		})
		if got := ask(ctx, t, transport, "", o.url); got != `204 ""` || seen != 20 {
			t.Errorf("got %s and %d informational responses", got, seen)
		}
		refuse = io.ErrNoProgress
		if got := ask(ctx, t, transport, "", o.url); got != "invalid" || seen != 21 {
			t.Errorf("the trace refuses: got %s and %d informational responses", got, seen-20)
		}
		o.clientClosed(t)
	})
}

// TestSwitchingProtocols checks that a connection is not reused after a 101 that was
// not requested.
func TestSwitchingProtocols(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		o := newUpstream(t, always("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nevil", false))
		transport := newTransport(t, o.url, nil)
		for range 2 {
			res, err := transport.RoundTrip(request(t.Context(), t, "", o.url))
			if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %v, %v", res, err)
			}
			res.Body.Close()
			o.clientClosed(t)
		}
	})
}
