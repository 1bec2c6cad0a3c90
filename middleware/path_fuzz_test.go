package middleware

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzPath checks that an accepted path is read in the same way by this package,
// by a server that decodes before it resolves dot segments (nginx), and by a proxy
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
			// The path was not repaired.
			if seen := nginxView(target); seen != path.Decoded {
				t.Errorf("nginx reads %q as %q, CanonicalPath as %q", target, seen, path.Decoded)
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
		t.Errorf("nginx reads %q as %q, CanonicalPath as %q", path.Escaped, seen, path.Decoded)
	}
	if seen := haproxyView(path.Escaped); seen != path.Escaped {
		t.Errorf("HAProxy reads %q for %q", seen, path.Escaped)
	}
	if sent := (&url.URL{Path: path.Decoded, RawPath: path.Escaped}).RequestURI(); sent != path.Escaped {
		t.Errorf("net/http sends %q for %q", sent, path.Escaped)
	}
	again, err := requestFor(path.Escaped)
	if err != nil {
		t.Fatalf("%q is not a request target: %v", path.Escaped, err)
	}
	if twice, err := CanonicalPath(again.URL); err != nil || twice != path {
		t.Errorf("%+v becomes %+v (%v)", path, twice, err)
	}
}

// nginxView returns the path that nginx reads: it removes the query and the
// fragment, decodes once, merges slashes, and then resolves dot segments.
func nginxView(target string) string {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	return resolved(decodeIf(target, func(byte) bool { return true }))
}

// haproxyView returns the path after HAProxy's normalize-uri with every
// normaliser: it decodes only unreserved characters and writes other escapes in
// upper case.
func haproxyView(target string) string {
	return resolved(decodeIf(target, unreserved))
}

// decodeIf decodes the escapes of the characters for which decode returns true,
// and writes all others in upper case.
func decodeIf(s string, decode func(byte) bool) string {
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
		case decode(c[0]):
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

// TestViews compares the models with measurements of nginx 1.22 and HAProxy 2.6.
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
