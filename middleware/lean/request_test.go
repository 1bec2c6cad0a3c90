package lean

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// recorder starts an upstream that keeps the raw head of each request.
func recorder(t *testing.T) (o *upstream, heads chan string) {
	t.Helper()
	heads = make(chan string, 100)
	return newUpstream(t, func(_ *upstream, c net.Conn, _ *bufio.Reader) {
		var head bytes.Buffer
		for one := make([]byte, 1); ; {
			if _, err := io.ReadFull(c, one); err != nil {
				if head.Len() > 0 {
					heads <- head.String() + " (incomplete)"
				}
				return
			}
			if head.Write(one); bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
				heads <- head.String()
				head.Reset()
				_, _ = io.WriteString(c, hi)
			}
		}
	}), heads
}

// forms returns changes that make requests which are sent here.
func forms() map[string]func(r *http.Request) {
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	return map[string]func(r *http.Request){
		"plain":               func(*http.Request) {},
		"HEAD":                func(r *http.Request) { r.Method = http.MethodHead },
		"POST without a body": func(r *http.Request) { r.Method = http.MethodPost },
		"PUT, nil body":       func(r *http.Request) { r.Method, r.Body = http.MethodPut, nil },
		"own method":          func(r *http.Request) { r.Method = "PURGE" },
		"no method":           func(r *http.Request) { r.Method = "" },
		"host":                func(r *http.Request) { r.Host = "client.example:80" },
		"host that is none":   func(r *http.Request) { r.Host = "a b\r\nX: y" },
		"host with a zone":    func(r *http.Request) { r.Host = "[fe80::1%25eth0]:80" },
		"host in Unicode":     func(r *http.Request) { r.Host = "bücher.example" },
		"user agent":          set("User-Agent", "me"),
		"no user agent":       set("User-Agent", ""),
		"nil user agent":      set("User-Agent"),
		"many fields": func(r *http.Request) {
			r.Header["Z"], r.Header["B"], r.Header["A"] = []string{"1", "2"}, []string{""}, []string{" x\t"}
		},
		"field as it is":     set("x-lower", "1"),
		"fields of ours":     func(r *http.Request) { r.Header["Host"], r.Header["Content-Length"] = []string{"evil"}, []string{"5"} },
		"encoding of ours":   set("Transfer-Encoding", "chunked"),
		"trailer of ours":    set("Trailer", "X"),
		"text in a field":    set("X", "ü\xff"),
		"close":              func(r *http.Request) { r.Close = true },
		"Connection: close":  set("Connection", "close"),
		"trailers wanted":    set("Te", "trailers"),
		"escaped path":       func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a b/c/ü", "/a%20b%2Fc/%C3%BC" },
		"raw path that lies": func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a b", "/other" },
		"no path":            func(r *http.Request) { r.URL.Path = "" },
		"relative path":      func(r *http.Request) { r.URL.Path = "a" },
		"line break in path": func(r *http.Request) { r.URL.Path = "/a\r\nX: y" },
		"opaque":             func(r *http.Request) { r.URL.Opaque = "//other.example/a%2Fb" },
		"query":              func(r *http.Request) { r.URL.RawQuery = "b=2&a=%zz;c" },
		"only a question":    func(r *http.Request) { r.URL.ForceQuery = true },
		"fragment":           func(r *http.Request) { r.URL.Fragment = "f" },
		"user":               func(r *http.Request) { r.URL.User = url.UserPassword("u", "p") },
		"long head":          set("X", strings.Repeat("x", 20<<10)),
	}
}

// TestRequestBytes checks that this transport and net/http send the same bytes.
func TestRequestBytes(t *testing.T) {
	o, heads := recorder(t)
	transport := newLean(t, o.url, nil)
	for name, change := range forms() {
		t.Run(name, func(t *testing.T) {
			var got [2]string
			for i, rt := range []http.RoundTripper{transport.fallback, transport} {
				r := request(t.Context(), t, "GET", o.url+"/a/b?c=d")
				change(r)
				if !transport.serves(r) {
					t.Fatal("the request goes to the fallback")
				}
				if answer := describe(rt.RoundTrip(r)); !strings.HasPrefix(answer, "200") {
					t.Fatal(answer)
				}
				got[i] = <-heads
			}
			if got[0] != got[1] {
				t.Errorf("net/http sends\n%q, this package\n%q", got[0], got[1])
			}
		})
	}
}

// TestFallback checks that other requests go to net/http, which sends or refuses
// them.
func TestFallback(t *testing.T) {
	for name, row := range map[string]struct {
		change func(r *http.Request)
		sent   bool
	}{
		"body":                {func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 }, true},
		"upgrade":             {func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }, true},
		"upgrade, odd case":   {func(r *http.Request) { r.Header["uPGRADE"] = []string{"h2c"} }, true},
		"expectation":         {func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, true},
		"CONNECT":             {func(r *http.Request) { r.Method = http.MethodConnect }, true},
		"head that is long":   {func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", maxHead)) }, true},
		"another host":        {func(r *http.Request) { r.URL.Host = strings.Replace(r.URL.Host, "127.0.0.1", "localhost", 1) }, true},
		"https":               {func(r *http.Request) { r.URL.Scheme = "https" }, false},
		"no host":             {func(r *http.Request) { r.URL.Host = "" }, false},
		"no URL":              {func(r *http.Request) { r.URL = nil }, false},
		"no header":           {func(r *http.Request) { r.Header = nil }, false},
		"length without body": {func(r *http.Request) { r.Body, r.ContentLength = nil, 5 }, false},
		"method":              {func(r *http.Request) { r.Method = "GET /x HTTP/1.1\r\nX:" }, false},
		"field name":          {func(r *http.Request) { r.Header["X: y\r\nZ"] = []string{""} }, false},
		"empty field name":    {func(r *http.Request) { r.Header[""] = []string{""} }, false},
		"line break in value": {func(r *http.Request) { r.Header.Set("X", "a\r\nY: b") }, false},
		"NUL in value":        {func(r *http.Request) { r.Header.Set("X", "a\x00") }, false},
		"trailer":             {func(r *http.Request) { r.Trailer = http.Header{"X: y\r\n": nil} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			// A new upstream for each case, because bytes may arrive late.
			o, heads := recorder(t)
			transport := newLean(t, o.url, func(f *http.Transport) { f.TLSHandshakeTimeout = 50 * time.Millisecond })
			r := request(t.Context(), t, "GET", o.url+"/")
			if row.change(r); transport.serves(r) {
				t.Error("the request is served here")
			}
			answer := describe(transport.RoundTrip(r))
			transport.CloseIdleConnections()
			if got := strings.HasPrefix(answer, "200"); got != row.sent {
				t.Errorf("got %s", answer)
			}
			for len(heads) > 0 {
				if head := <-heads; !row.sent && name != "https" {
					t.Errorf("the upstream received %q", head)
				}
			}
		})
	}
}

// TestSettings checks that every request goes to net/http if its transport has
// settings that are not implemented here.
func TestSettings(t *testing.T) {
	for name, change := range map[string]func(*http.Transport){
		"proxy":       func(f *http.Transport) { f.Proxy = http.ProxyFromEnvironment },
		"compression": func(f *http.Transport) { f.DisableCompression = false },
		"keep-alive":  func(f *http.Transport) { f.DisableKeepAlives = true },
		"connections": func(f *http.Transport) { f.MaxConnsPerHost = 1 },
		"protocols":   func(f *http.Transport) { f.Protocols = new(http.Protocols) },
	} {
		if transport := newLean(t, "http://127.0.0.1", change); transport.serves(request(t.Context(), t, "GET", "http://127.0.0.1/")) {
			t.Errorf("%s: the request is served here", name)
		}
	}
	if !newLean(t, "http://127.0.0.1", nil).serves(request(t.Context(), t, "GET", "http://127.0.0.1/")) {
		t.Error("the request goes to the fallback")
	}
	for upstream, want := range map[string]string{"http://a": "a:80", "http://a:8080": "a:8080", "http://[::1]": "[::1]:80"} {
		if got := newLean(t, upstream, nil).address; got != want {
			t.Errorf("%s is dialled as %s", upstream, got)
		}
	}
}
