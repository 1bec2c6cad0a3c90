package lean

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestConcurrentUse has many clients of one proxy, some of which cancel. All others
// must get their own complete answers.
func TestConcurrentUse(t *testing.T) {
	both(t, func(t *testing.T, newTransport maker) {
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(r.URL.RawQuery+"\n", 100))
		}))
		defer upstream.Close()
		u, err := url.Parse(upstream.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(u) },
			Transport: newTransport(t, upstream.URL, nil),
			ErrorLog:  log.New(io.Discard, "", 0),
		})
		defer proxy.Close()
		client := &http.Client{Transport: settings(t, nil), Timeout: 10 * time.Second}
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for n := range 50 {
					id := fmt.Sprintf("%d-%d", i, n)
					res, err := client.Get(proxy.URL + "/?" + id)
					if err != nil {
						t.Error(err)
						return
					}
					if n%7 == 3 {
						res.Body.Close() // the client goes away
						continue
					}
					want := strings.Repeat(id+"\n", 100)
					if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
						t.Errorf("%s: got %d bytes, %v", id, len(body), err)
					}
					res.Body.Close()
				}
			})
		}
		all.Wait()
	})
}

// BenchmarkRoundTrip measures one exchange without a proxy around it.
func BenchmarkRoundTrip(b *testing.B) {
	o := newUpstream(b, always(hi, false))
	transport := newLean(b, o.url, func(f *http.Transport) { f.ResponseHeaderTimeout = time.Minute })
	for name, rt := range map[string]http.RoundTripper{"nethttp": transport.fallback, "lean": transport} {
		b.Run(name, func(b *testing.B) {
			r := request(b.Context(), b, "GET", o.url+"/a/b")
			r.Header.Set("User-Agent", "")
			b.ReportAllocs()
			for b.Loop() {
				res, err := rt.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					b.Fatal(err)
				}
				res.Body.Close()
			}
		})
	}
}

// BenchmarkIdleCheck measures the check of an idle connection.
func BenchmarkIdleCheck(b *testing.B) {
	o := newUpstream(b, always(hi, false))
	transport := newLean(b, o.url, nil)
	ask(b.Context(), b, transport, "", o.url)
	c := transport.idle.pop()
	defer c.abort()
	b.ReportAllocs()
	for b.Loop() {
		if !c.isQuiet() {
			b.Fatal("the connection is not quiet")
		}
	}
}
