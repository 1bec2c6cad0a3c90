package middleware

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"tyk_proxy/middleware/lean"
)

// gateway is a real server that runs all five stages in front of an upstream.
type gateway struct {
	*httptest.Server
	journal *journal
	token   string
	addr    string
}

// gatewayConfig has the parts of a gateway that a test may change.
type gatewayConfig struct {
	server    *http.Server
	pipeline  *PipelineConfig
	proxy     *ProxyConfig
	transport *http.Transport
	trusted   *[]netip.Prefix
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func newGateway(t *testing.T, target string, change func(gatewayConfig)) *gateway {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := ProxyConfig{Upstream: mustURL(target), Transport: transport}
	record := &Record{RateLimit: 10, ExpiresAt: time.Now().Add(time.Hour), Routes: NewRouteSet([]string{"/*"})}
	pipeline := PipelineConfig{
		Stages: []Stage{
			NewAuth(AuthConfig{Algorithm: "HS256", Key: testSecret, Leeway: testLeeway}),
			NewTokenLookup(lookupFunc(func(context.Context, string) (*Record, error) { return record, nil }), nil),
			RouteCheck{},
			NewRateLimit(RateLimitConfig{Counter: countUsed(1)}),
		},
		Observer: newJournal(),
	}
	g := &gateway{Server: httptest.NewUnstartedServer(nil), token: hs256(claimsAt(time.Now(), ""))}
	var trusted []netip.Prefix
	if change != nil {
		change(gatewayConfig{g.Config, &pipeline, &proxy, transport, &trusted})
	}
	if proxy.Transport == http.RoundTripper(transport) {
		l := lean.New(lean.Config{Upstream: proxy.Upstream, Fallback: transport})
		t.Cleanup(l.CloseIdleConnections)
		proxy.Transport = l
	}
	pipeline.Forwarder = NewProxy(proxy)
	g.journal = pipeline.Observer.(*journal)
	handler := TrustBoundary(trusted, NewPipeline(pipeline))
	g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		CloseAfter(w, r, false) // as the gateway's server does
		handler.ServeHTTP(w, r)
	})
	g.Start()
	t.Cleanup(g.Close)
	g.addr = g.Listener.Addr().String()
	return g
}

// loopback makes the gateway trust the tests' client.
func loopback(c gatewayConfig) {
	*c.trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// head returns a request's head with credentials and the test's own fields.
func (g *gateway) head(requestLine, fields string) string {
	return requestLine + "\r\nHost: client.example\r\nAuthorization: Bearer " + g.token + "\r\n" + fields + "\r\n"
}

// get sends a GET with credentials through net/http.
func (g *gateway) get(t *testing.T, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+g.token)
	resp, err := g.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// exchange sends raw bytes and returns what the server sends until it closes the
// connection.
func exchange(t *testing.T, addr, request string) string {
	t.Helper()
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

// rawUpstream is a TCP server that keeps the raw head of every request and answers
// with the function of a test.
type rawUpstream struct {
	url   string
	heads chan string
}

const plainOK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// newUpstream starts an upstream that sends the same bytes to every request and
// closes the connection.
func newUpstream(t *testing.T, answer string) *rawUpstream {
	t.Helper()
	return newUpstreamFunc(t, func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })
}

func newUpstreamFunc(t *testing.T, answer func(net.Conn)) *rawUpstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	u := &rawUpstream{url: "http://" + listener.Addr().String(), heads: make(chan string, 16)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go u.serve(conn, answer)
		}
	}()
	return u
}

func (u *rawUpstream) serve(conn net.Conn, answer func(net.Conn)) {
	defer conn.Close()
	reader, head := bufio.NewReader(conn), ""
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		if head += line; line == "\r\n" {
			break
		}
	}
	u.heads <- head
	answer(conn)
}

// seen returns the next request's head.
func (u *rawUpstream) seen(t *testing.T) string {
	t.Helper()
	select {
	case head := <-u.heads:
		return head
	case <-time.After(10 * time.Second):
		t.Fatal("no request reached the upstream")
		return ""
	}
}

// untouched fails the test if a request reached the upstream. Call it after the
// gateway has answered.
func (u *rawUpstream) untouched(t *testing.T) {
	t.Helper()
	select {
	case head := <-u.heads:
		t.Errorf("the upstream received %q", head)
	default:
	}
}
