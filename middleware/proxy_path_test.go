package middleware

import (
	"strings"
	"testing"
)

// TestWirePath compares raw request lines: the authorised path is forwarded, and
// the query is unchanged.
func TestWirePath(t *testing.T) {
	for _, row := range []struct{ target, want string }{
		{"/api/v1/test", "/api/v1/test"},
		{"/%61pi/%7Ex", "/api/~x"},
		{"/a%20b%3f%c3%a9", "/a%20b%3F%C3%A9"},
		{"/é", "/%C3%A9"},
		{`/a"b`, "/a%22b"},
		{"/100%25", "/100%25"},
		{"/a;x=1", "/a;x=1"},
		{"/x?a=1;b=2&c=%zz&d=4", "/x?a=1;b=2&c=%zz&d=4"},
		{"/x?a=%2e%2e/%2F&b=/../c#", "/x?a=%2e%2e/%2F&b=/../c#"},
		{"/x?", "/x?"},
		{"/x??a", "/x??a"},
		{"http://evil.example:81/abs?q=1", "/abs?q=1"},
		{"http://user:pass@evil.example/abs", "/abs"},
	} {
		t.Run(row.target, func(t *testing.T) {
			upstream := newUpstream(t, plainOK)
			g := newGateway(t, upstream.url, nil)
			raw := exchange(t, g.addr, g.head("GET "+row.target+" HTTP/1.1", "Connection: close\r\n"))
			if !strings.HasPrefix(raw, "HTTP/1.1 200 ") {
				t.Fatalf("got %q", raw)
			}
			head := upstream.seen(t)
			if line, _, _ := strings.Cut(head, "\r\n"); line != "GET "+row.want+" HTTP/1.1" {
				t.Errorf("the upstream received %q, want the target %q", line, row.want)
			}
			if !strings.Contains(head, "\r\nAuthorization: Bearer "+g.token+"\r\n") {
				t.Errorf("the client's credentials were changed: %q", head)
			}
		})
	}
}

// TestWireRefusals checks the raw response to refused requests, and that the
// upstream receives nothing.
func TestWireRefusals(t *testing.T) {
	upstream := newUpstream(t, plainOK)
	g := newGateway(t, upstream.url, nil)
	const allow = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
	for _, row := range []struct{ line, status, header string }{
		{"GET /%61pi/.. HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{"GET /%61pi/%2e%2e HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{"GET /a%2f..%2fadmin HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{`GET /a%2fb" HTTP/1.1`, "400", `"reason":"path_ambiguous"`},
		{"GET //admin HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{"GET /admin#f HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{"GET http://evil//admin HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{"GET * HTTP/1.1", "400", `"reason":"path_ambiguous"`},
		{"CONNECT a:1 HTTP/1.1", "405", allow},
		{"CONNECT / HTTP/1.1", "405", allow},
		{"TRACE / HTTP/1.1", "405", allow},
		{"FOO / HTTP/1.1", "405", allow},
		{"get / HTTP/1.1", "405", allow},
		// net/http refuses these requests.
		{"GET /%zz HTTP/1.1", "400", ""},
		{"GET /a b HTTP/1.1", "400", ""},
		{"GET relative HTTP/1.1", "400", ""},
	} {
		raw := exchange(t, g.addr, g.head(row.line, "Max-Forwards: 0\r\nConnection: close\r\n"))
		if !strings.HasPrefix(raw, "HTTP/1.1 "+row.status+" ") || !strings.Contains(raw, row.header) {
			t.Errorf("%s: got %q, want status %s and %q", row.line, raw, row.status, row.header)
		}
		upstream.untouched(t)
	}
}

// TestUnauthorisedSeesNothing checks that credentials are checked before the method
// and the path.
func TestUnauthorisedSeesNothing(t *testing.T) {
	upstream := newUpstream(t, plainOK)
	g := newGateway(t, upstream.url, nil)
	for _, line := range []string{
		"GET /x HTTP/1.1", "GET /x?access_token=" + g.token + " HTTP/1.1", "CONNECT a:1 HTTP/1.1", "GET //x HTTP/1.1",
	} {
		raw := exchange(t, g.addr, line+"\r\nHost: h\r\nCookie: access_token="+g.token+"\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(raw, "HTTP/1.1 401 ") || !strings.Contains(raw, "Www-Authenticate: Bearer realm=\"tyk_proxy\"\r\n") {
			t.Errorf("%s: got %q", line, raw)
		}
		upstream.untouched(t)
	}
	two := g.head("GET /x HTTP/1.1", "Connection: close\r\nAuthorization: Bearer "+g.token+"\r\n")
	if raw := exchange(t, g.addr, two); !strings.HasPrefix(raw, "HTTP/1.1 401 ") || !strings.Contains(raw, "credentials_ambiguous") {
		t.Errorf("two headers: got %q", raw)
	}
	upstream.untouched(t)
}
