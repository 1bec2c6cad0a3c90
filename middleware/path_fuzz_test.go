package middleware

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzPath holds that a path which is accepted can be read in one way only: by
// us, by a server that decodes first and resolves then (nginx), and by a proxy
// that normalises the escaped form (HAProxy).
func FuzzPath(f *testing.F) {
	for _, target := range []string{
		"/", "/pub/x", "/pub/%61?q=/..", "/pub/../x", "/pub/%2e%2e/x", "/pub/..%2fx", "//x", `/a%2fb"`, "/a%25b", "/é#", "http://h/pub/;x",
	} {
		f.Add(target)
	}
	pub := NewRouteSet([]string{"/pub/*"})
	f.Fuzz(func(t *testing.T, target string) {
		r, err := requestFor(target)
		if err != nil {
			t.Skip("net/http answers 400 by itself")
		}
		path, err := CanonicalPath(r.URL)
		if err != nil {
			return
		}
		checkOneReading(t, path)
		if strings.HasPrefix(target, "/") {
			// Nothing was repaired: what came already read so.
			if seen := nginxView(target); seen != path.Decoded {
				t.Errorf("nginx reads %q as %q, we as %q", target, seen, path.Decoded)
			}
			if raw, _, _ := strings.Cut(target, "?"); strings.Contains(strings.ToUpper(raw), "%2F") || strings.ContainsAny(raw, `#\`) {
				t.Errorf("%q was accepted", target)
			}
		}
		if _, ok := pub.Match("GET", path.Decoded); ok {
			for _, seen := range []string{nginxView(path.Escaped), haproxyView(path.Escaped)} {
				if !strings.HasPrefix(seen, "/pub/") {
					t.Errorf("%q is allowed under /pub/ but read as %q", target, seen)
				}
			}
		}
	})
}

func checkOneReading(t *testing.T, path Path) {
	t.Helper()
	if decoded, err := url.PathUnescape(path.Escaped); err != nil || decoded != path.Decoded {
		t.Errorf("%q decodes to %q (%v), not to %q", path.Escaped, decoded, err, path.Decoded)
	}
	if seen := nginxView(path.Escaped); seen != path.Decoded {
		t.Errorf("nginx reads %q as %q, we as %q", path.Escaped, seen, path.Decoded)
	}
	if seen := haproxyView(path.Escaped); seen != path.Escaped {
		t.Errorf("HAProxy makes %q of %q", seen, path.Escaped)
	}
	if sent := (&url.URL{Path: path.Decoded, RawPath: path.Escaped}).RequestURI(); sent != path.Escaped {
		t.Errorf("net/http sends %q for %q", sent, path.Escaped)
	}
	again, err := requestFor(path.Escaped)
	if err != nil {
		t.Fatalf("%q is no request target: %v", path.Escaped, err)
	}
	if twice, err := CanonicalPath(again.URL); err != nil || twice != path {
		t.Errorf("%+v becomes %+v (%v)", path, twice, err)
	}
}

// nginxView is how nginx reads a request target: it cuts the query and the
// fragment, decodes once, merges slashes, then resolves dot segments.
func nginxView(target string) string {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	return resolved(decodeWhere(target, func(byte) bool { return true }))
}

// haproxyView is HAProxy's normalize-uri with every normaliser: only
// unreserved characters are decoded, other escapes become upper-case.
func haproxyView(target string) string {
	return resolved(decodeWhere(target, unreserved))
}

// decodeWhere decodes the escapes of the characters that decide, and writes all
// others in upper case.
func decodeWhere(s string, decides func(byte) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+3 > len(s) {
			b.WriteByte(s[i])
			continue
		}
		c, err := url.PathUnescape(s[i : i+3])
		switch {
		case err != nil:
			b.WriteByte(s[i])
			continue
		case decides(c[0]):
			b.WriteString(c)
		default:
			b.WriteString(strings.ToUpper(s[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// resolved merges slashes and resolves dot segments (RFC 3986 §5.2.4).
func resolved(path string) string {
	var kept []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch {
		case segment == ".." && len(kept) > 0:
			kept = kept[:len(kept)-1]
		case segment == "..", segment == ".", segment == "":
		default:
			kept = append(kept, segment)
			continue
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// TestViews pins the models to what was measured on nginx 1.22 and HAProxy 2.6.
func TestViews(t *testing.T) {
	for _, row := range []struct{ target, nginx, haproxy string }{
		{"/a/../admin", "/admin", "/admin"},
		{"/a/%2e%2e/admin", "/admin", "/admin"},
		{"/a/..%2fadmin", "/admin", "/a/..%2Fadmin"},
		{"/a%2fadmin", "/a/admin", "/a%2Fadmin"},
		{"//admin", "/admin", "/admin"},
		{"/%61dmin", "/admin", "/admin"},
		{"/./admin", "/admin", "/admin"},
		{"/admin/.", "/admin/", "/admin/"},
		{"/..;/admin", "/..;/admin", "/..;/admin"},
		{"/admin#f", "/admin", "/admin#f"},
	} {
		if got := nginxView(row.target); got != row.nginx {
			t.Errorf("nginx: %q becomes %q, want %q", row.target, got, row.nginx)
		}
		if got := haproxyView(row.target); got != row.haproxy {
			t.Errorf("HAProxy: %q becomes %q, want %q", row.target, got, row.haproxy)
		}
	}
}
