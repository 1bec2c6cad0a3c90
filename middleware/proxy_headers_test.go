package middleware

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// overriding has the header fields that make some backends obey another method or
// path than was authorised.
const overriding = "X-Original-URL: /admin\r\nX-Original-URI: /admin\r\nX-Rewrite-URL: /admin\r\nX-Override-URL: /admin\r\n" +
	"X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nx-method-override: DELETE\r\n" +
	"X-HTTP-Method_Override: DELETE\r\nX_Rewrite-URL: /admin\r\nPROXY: http://evil.example\r\n"

// foreign has the header fields of tracers, content delivery networks and proxies
// that only a trusted peer may set.
const foreign = "b3: 1\r\nX-B3-TraceId: 1\r\nX-B3-Sampled: 1\r\nuber-trace-id: 1:1:0:1\r\nuberctx-a: 1\r\n" +
	"X-Datadog-Trace-Id: 1\r\nX-Datadog-Sampling-Priority: 2\r\nX-Amzn-Trace-Id: Root=1\r\nX-Cloud-Trace-Context: 1\r\n" +
	"sentry-trace: 1\r\nTrue-Client-IP: 6.6.6.6\r\nX-Client-IP: 6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6\r\n" +
	"X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nFastly-Client-IP: 6.6.6.6\r\nX-Cluster-Client-IP: 6.6.6.6\r\n"

// pairs returns the names, in canonical form, and values of header fields.
func pairs(fields string) []string {
	lines := strings.Split(strings.TrimSuffix(fields, "\r\n"), "\r\n")
	all := make([]string, 0, 2*len(lines))
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		all = append(all, http.CanonicalHeaderKey(name), value)
	}
	return all
}

// TestForwardedHeaders compares the whole head of a forwarded request, so that a
// field which the row does not have is an error.
func TestForwardedHeaders(t *testing.T) {
	const spoofed = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n" +
		"X-Real-IP: 6.6.6.6\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /x\r\nX-Forwarded-Uri: /x\r\nX-Forwarded-Method: PUT\r\n"
	built := map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "client.example", "X-Forwarded-Proto": "http",
	}
	with := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for k, v := range built {
			m[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, row := range []struct {
		name    string
		fields  string
		trusted bool
		want    map[string]string
	}{
		{"nothing added", "", false, built},
		{"as sent", "Accept-Encoding: br;q=0.5, identity\r\nUser-Agent: x\r\nX-Custom: 1\r\n", false,
			with("Accept-Encoding", "br;q=0.5, identity", "User-Agent", "x", "X-Custom", "1")},
		{"spoofed", spoofed, false, built},
		{"spoofed in lower case", strings.ToLower(spoofed), false, built},
		{"spoofed with underscores", "X_Forwarded_For: 6.6.6.6\r\nx_real_ip: 6.6.6.6\r\nX-Forwarded_Host: evil\r\n" +
			"other_name: stays\r\n", false,
			with("Other_name", "stays")},
		{"from a trusted peer", spoofed, true, map[string]string{
			"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https",
			"X-Real-Ip": "6.6.6.6", "X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/x",
			"X-Forwarded-Uri": "/x", "X-Forwarded-Method": "PUT", "Forwarded": "for=6.6.6.6"}},
		{"two lines from a trusted peer", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n", true,
			with("X-Forwarded-For", "6.6.6.6, 7.7.7.7, 127.0.0.1")},
		{"underscores from a trusted peer", "X_Forwarded_For: 6.6.6.6\r\n", true, built},
		{"nothing from a trusted peer", "", true, built},
		{"overrides", overriding, false, built},
		{"overrides from a trusted peer", overriding, true, built},
		{"overrides with underscores", strings.ReplaceAll(overriding, "-", "_"), true, built},
		{"foreign traces and addresses", foreign, false, built},
		{"foreign traces and addresses from a trusted peer", foreign, true, with(pairs(foreign)...)},
		{"foreign traces and addresses with underscores", strings.ReplaceAll(foreign, "-", "_"), true, with(
			"B3", "1", "Forwarded", "for=6.6.6.6")},
		{"Connection strips", "Connection: close, X-Forwarded-For, x-forwarded-host, X-FORWARDED-PROTO\r\n" +
			"X-Forwarded-For: 6.6.6.6\r\n", false, built},
		{"Connection strips, split", "Connection: close\r\nConnection: , X-Forwarded-For\r\n", false, built},
		{"Connection strips, trusted", "Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\n", true,
			with("X-Forwarded-For", "6.6.6.6, 127.0.0.1")},
		{"hop by hop", "Keep-Alive: 1\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTE: gzip\r\n" +
			"Connection: X-Hop\r\nX-Hop: 1\r\n", false, built},
		{"TE: trailers", "TE: trailers\r\n", false, with("Te", "trailers")},
		{"trace context", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n" +
			"Tracestate: a=b\r\nBaggage: a=b\r\n", false, built},
		{"trace context from a trusted peer", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n" +
			"Tracestate: a=b\r\nBaggage: a=b\r\n", true, with("Baggage", "a=b")},
		{"h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", false, built},
		{"h2c after websocket", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", false,
			with("Connection", "Upgrade", "Upgrade", "websocket")},
		{"h2c in one list", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", false, built},
		{"upgrade to junk", "Connection: Upgrade\r\nUpgrade: \xff\r\n", false, built},
		{"upgrade not announced", "Upgrade: websocket\r\n", false, built},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := newUpstream(t, plainOK)
			g := newGateway(t, upstream.url, func(c gatewayConfig) {
				if row.trusted {
					loopback(c)
				}
			})
			conn := dial(t, g.addr)
			if _, err := conn.Write([]byte(g.head("GET /x HTTP/1.1", row.fields))); err != nil {
				t.Fatal(err)
			}
			got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(upstream.seen(t))))
			if err != nil {
				t.Fatal(err)
			}
			want := http.Header{"Authorization": {"Bearer " + g.token}}
			for name, value := range row.want {
				want[name] = []string{value}
			}
			if diff := cmp.Diff(want, got.Header); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if own := strings.TrimPrefix(upstream.url, "http://"); got.Host != own {
				t.Errorf("Host %q, want the upstream's, %q", got.Host, own)
			}
		})
	}
}

// TestResponseHeaders compares the whole head of a response from an upstream that
// sends fields which only the gateway may set.
func TestResponseHeaders(t *testing.T) {
	limits := "RateLimit: 1\r\nRateLimit: 2\r\nratelimit-policy: x\r\nX-RateLimit-Limit: 9\r\nX-RateLimit-Reset: 9\r\n" +
		"RateLimit-Remaining: 9\r\nX-RateLimit-Used: 9\r\nX-Trace-ID: x\r\n"
	const others = "X-Hop: 1\r\nConnection: x-hop\r\nKeep-Alive: 1\r\nRetry-After: 9\r\n"
	upstream := newUpstream(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"+others+limits+"\r\n"+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\nX-Own: 1\r\nX-Hop: 1\r\nConnection: X-Hop\r\n"+limits+"\r\nok")
	g := newGateway(t, upstream.url, traced)
	raw := exchange(t, g.addr, g.head("GET /x HTTP/1.1", "Connection: close\r\n"))
	interim, rest, _ := strings.Cut(raw, "\r\n\r\n")
	if interim != "HTTP/1.1 103 Early Hints\r\nLink: </a>" {
		t.Errorf("interim response %q", interim)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(rest)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := http.Header{
		"Content-Length": {"2"}, "Date": {"x"}, "X-Own": {"1"}, "X-Trace-Id": {"ours"},
		"Ratelimit-Policy": {`"default";q=10;w=60`}, "Ratelimit": {`"default";r=9;t=42`},
		"X-Ratelimit-Limit": {"10"}, "X-Ratelimit-Remaining": {"9"}, "X-Ratelimit-Reset": {"1767366300"},
	}
	if diff := cmp.Diff(want, resp.Header); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := g.journal.wait(t); d.Status != http.StatusOK || d.Bytes != 2 || d.Outcome.Reason != Forwarded {
		t.Errorf("result %+v", d)
	}
}

// traced makes the gateway send its trace id, "ours".
func traced(c gatewayConfig) {
	c.proxy.TraceIDHeader, c.pipeline.TraceIDHeader = "x-trace-id", "x-trace-id"
	c.pipeline.TraceID = func(context.Context) string { return "ours" }
}

// TestResponseTrailers checks that an upstream cannot send as trailers, announced
// or not, what only the gateway may set.
func TestResponseTrailers(t *testing.T) {
	const trailers = "X-Sum: 1\r\nRateLimit: 9\r\nX-RateLimit-Remaining: 9\r\nX-Trace-Id: x\r\nRetry-After: 9\r\n"
	for _, row := range []struct{ name, announced, sent string }{
		{"announced", "Trailer: X-Sum, RateLimit, X-RateLimit-Remaining, X-Trace-Id, Retry-After\r\n", trailers},
		{"not announced", "", trailers},
		{"some announced", "Trailer: X-Sum\r\n", trailers},
		{"announced and not sent", "Trailer: RateLimit, X-Sum\r\n", "X-Sum: 1\r\n"},
	} {
		for _, request := range []string{"GET /x HTTP/1.1", "POST /x HTTP/1.1"} {
			t.Run(row.name+" "+request[:4], func(t *testing.T) {
				upstream := newUpstream(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+row.announced+
					"\r\n2\r\nok\r\n0\r\n"+row.sent+"\r\n")
				g := newGateway(t, upstream.url, traced)
				fields, body := "Connection: close\r\n", ""
				if request[0] == 'P' { // goes through http.Transport
					fields, body = fields+"Content-Length: 2\r\n", "hi"
				}
				raw := exchange(t, g.addr, g.head(request, fields)+body)
				resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, err := io.ReadAll(resp.Body)
				if err != nil || string(got) != "ok" {
					t.Errorf("got %q, %v", got, err)
				}
				if diff := cmp.Diff(http.Header{"X-Sum": {"1"}}, resp.Trailer); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if id, limit := resp.Header.Get("X-Trace-Id"), resp.Header.Get("RateLimit"); id != "ours" || limit != `"default";r=9;t=42` {
					t.Errorf("trace id %q, limit %q", id, limit)
				}
			})
		}
	}
}

// TestForwarderNeedsNoPipeline checks that Forward works with any ResponseWriter.
func TestForwarderNeedsNoPipeline(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer upstream.Close()
	proxy := NewProxy(ProxyConfig{Upstream: mustURL(upstream.URL), Transport: http.DefaultTransport})
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/x", http.NoBody)
	ex := &Exchange{Request: r, Path: Path{"/x", "/x"}}
	checkReason(t, proxy.Forward(t.Context(), w, ex), Forwarded)
	if w.Body.String() != "hello" || ex.Upstream.Status != http.StatusOK {
		t.Errorf("got %q, upstream status %d", w.Body, ex.Upstream.Status)
	}
}
