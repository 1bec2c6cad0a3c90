package middleware

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// requestFor reads a request as a server does; url.Parse reads it differently.
func requestFor(target string) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
}

// TestCanonicalPathAccepts lists accepted paths and their forwarded forms.
func TestCanonicalPathAccepts(t *testing.T) {
	for _, row := range []struct{ target, decoded, escaped string }{
		{"/", "/", "/"},
		{"/api/v1/test", "/api/v1/test", "/api/v1/test"},
		{"/pub/", "/pub/", "/pub/"},
		{"/a?b=/../c", "/a", "/a"},
		{"/%61dmin", "/admin", "/admin"},
		{"/%7Euser/%2D%5f", "/~user/-_", "/~user/-_"},
		{"/a%20b", "/a b", "/a%20b"},
		{"/a%3fb%23c", "/a?b#c", "/a%3Fb%23c"},
		{"/a%c3%a9", "/aé", "/a%C3%A9"},
		{"/a/é", "/a/é", "/a/%C3%A9"},
		{"/100%25", "/100%", "/100%25"},
		{"/a;x=1", "/a;x=1", "/a;x=1"},
		{"/a%3bx", "/a;x", "/a%3Bx"},
		{"/...", "/...", "/..."},
		{"/%20a/.%20b", "/ a/. b", "/%20a/.%20b"},
		{"/%EF%BC%8Ea/b%E2%80%8B", "/．a/b\u200b", "/%EF%BC%8Ea/b%E2%80%8B"},
		{"/100%EF%BC%85/x", "/100％/x", "/100%EF%BC%85/x"},
		{"/%E3%80%82x", "/。x", "/%E3%80%82x"},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x"},
		{"/a..b/..c/d..", "/a..b/..c/d..", "/a..b/..c/d.."},
		{"/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="},
		{`/a"b`, `/a"b`, "/a%22b"},
		{"http://evil/abs", "/abs", "/abs"},
		{"http://user:pass@evil/abs?q", "/abs", "/abs"},
	} {
		t.Run(row.target, func(t *testing.T) {
			r, err := requestFor(row.target)
			if err != nil {
				t.Fatal(err)
			}
			got, err := CanonicalPath(r.URL)
			if want := (Path{row.decoded, row.escaped}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// TestCanonicalPathRefuses lists paths that servers read differently: first those
// measured between Go, HAProxy and nginx, then the usual forms of traversal below
// a public prefix.
func TestCanonicalPathRefuses(t *testing.T) {
	targets := append(pubTraversals(),
		"/a/../admin", "/a/%2e%2e/admin", "/a/..%2fadmin", "/a%2fadmin", "//admin", "/./admin", "/admin/.",
		`/a\admin`, "/admin%00", "/admin#f", "/..;/admin", "*", "http://evil", "http://evil//abs", "http://evil/pub/../admin",
		// White space, full-width forms and invisible characters.
		"/pub/..%20/admin", "/pub/%20../admin", "/pub/.%20./admin", "/pub/..%20", "/pub/..%20./admin", "/pub/%20/admin",
		"/pub/..%C2%A0/admin", "/pub/..%E3%80%80/admin", "/pub/%EF%BC%8E%EF%BC%8E/admin", "/pub/．./admin", "/pub/%E2%80%A5/admin",
		"/pub/%E2%80%A4%E2%80%A4/admin", "/pub/%E3%80%82./admin", "/pub/..%EF%BC%8Fadmin", "/pub%EF%BC%8F..%EF%BC%8Fadmin",
		"/pub/a／b", "/pub/..%EF%BC%BCadmin", "/pub/..%E2%88%95admin", "/pub/..%E2%81%84admin",
		"/pub/.%E2%80%8B./admin", "/pub/.%E2%80%8D./admin", "/pub/..%EF%BB%BF/admin", "/pub/%C2%AD../admin", "/pub/.%E2%81%A0./admin",
		"/pub/..%EF%B8%8F/admin", "/pub/..%C2%85/admin", "/pub/..%EF%BC%9Bx/admin", "/pub/%EF%BC%852e%EF%BC%852e/admin",
		"/pub/..%20;x/admin", "/pub/..%E2%80%8E/admin",
		"mailto:x", "/admin#/pub", "/%", "/%4", "/%zz", "/a%2Fb%22", `/a%2fb"`, `/a%2f"b`,
	)
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			r, err := requestFor(target)
			if err != nil {
				return // net/http answers 400
			}
			if got, err := CanonicalPath(r.URL); err == nil {
				t.Errorf("accepted as %+v", got)
			}
		})
	}
}

func pubTraversals() []string {
	targets := make([]string, 0, 128)
	for _, tail := range []string{
		"..", "../", "../admin", "%2e%2e", "%2E%2E/", "%2e./admin", ".%2e/admin", "..%2fadmin", "..%2Fadmin", "%2e%2e%2fadmin",
		"%2fadmin", "..%5cadmin", `..\admin`, "..%255cadmin", "%252e%252e/admin", "%252e%252e%252fadmin", "..%252fadmin",
		"%25252e%25252e/admin", "%%32%65", "%c0%ae%c0%ae/admin", "%c0%af", "%e0%80%af", "..%c0%afadmin", "%ff", "..;/admin",
		"..;x=1/admin", "..%3b/admin", "%2e%2e;/admin", ".;/x", "./", ".", "/x", "//", "/", ";/x", ";x", "x/..", "x/../../admin",
		"x/%2e%2e/%2e%2e/admin", "x%00", "%00", "x%0a", "x%0d%0aX: y", "x%09", "x%1f", "x%7f", "x%5c", "x%5C..", "x%2e%2f",
		"..%00/admin", "..%0d/admin", "%2500", "x#y", "#", "..#", "%2e%2e%23/%2e%2e", "x/./y", "x//y", "x/.;a/y",
	} {
		targets = append(targets, "/pub/"+tail)
	}
	return targets
}
