package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sirupsen/logrus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

const (
	trustedPeer   = "10.0.0.1:4711"
	untrustedPeer = "203.0.113.7:4711"
	gatewaySecret = "a secret that only tests use, 32+"
)

// gateway is the real pipeline in memory, with a fake store and a fake
// backend. The backend answers as the header X-Answer of a request says.
type gateway struct {
	rig

	store *storetest.Fake
	lines *lockedBuffer

	mu   sync.Mutex
	sent []http.Header // what the backend was sent
	keep bool          // sent is kept
}

func newGateway(tb testing.TB, cfg TracesConfig, exporter sdktrace.SpanExporter) *gateway {
	tb.Helper()
	return newGatewayWith(tb, cfg, exporter, func(next http.RoundTripper) http.RoundTripper { return next })
}

// newGatewayWith is newGateway with a wrapper around the backend.
func newGatewayWith(
	tb testing.TB, cfg TracesConfig, exporter sdktrace.SpanExporter, around func(http.RoundTripper) http.RoundTripper,
) *gateway {
	tb.Helper()
	g := &gateway{store: storetest.NewFake(time.Minute, nil), lines: &lockedBuffer{}, keep: true}
	g.spans, _ = exporter.(*tracetest.InMemoryExporter)
	var err error
	if g.providers, err = setup(tb.Context(), Config{Version: "1.2.3", Traces: cfg}, exporter); err != nil {
		tb.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(g.lines)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.JSONFormatter{})
	if g.recorder, err = g.providers.NewRecorder(log, []byte("a key for key ids")); err != nil {
		tb.Fatal(err)
	}
	target := &url.URL{Scheme: "http", Host: "backend:80"}
	transport, err := g.providers.Transport(around(roundTripper(g.answer)))
	if err != nil {
		tb.Fatal(err)
	}
	pipeline := middleware.NewPipeline(middleware.PipelineConfig{
		Stages: []middleware.Stage{
			middleware.NewAuth(middleware.AuthConfig{Algorithm: "HS256", Key: []byte(gatewaySecret)}),
			middleware.NewTokenLookup(g.store, nil),
			middleware.RouteCheck{},
			middleware.NewRateLimit(middleware.RateLimitConfig{Counter: g.store}),
		},
		Forwarder: middleware.NewProxy(middleware.ProxyConfig{Upstream: target, Transport: transport}),
		Observer:  g.recorder, TraceID: TraceID, TraceIDHeader: "X-Trace-Id",
	})
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	g.handler = middleware.TrustBoundary(trusted, g.providers.Server(8080, pipeline))
	tb.Cleanup(func() { _ = g.providers.Shutdown(context.WithoutCancel(tb.Context())) })
	return g
}

// newGatewayOn is newGateway with records and counters in Redis.
func newGatewayOn(tb testing.TB, cfg TracesConfig, client *redisstore.Client) *gateway {
	tb.Helper()
	g := newGateway(tb, cfg, tracetest.NewInMemoryExporter())
	instrument, err := g.providers.Redis(client.Traced())
	if err != nil {
		tb.Fatal(err)
	}
	client.SetInstrument(instrument)
	tb.Cleanup(func() { _ = client.Close() })
	transport, err := g.providers.Transport(roundTripper(g.answer))
	if err != nil {
		tb.Fatal(err)
	}
	pipeline := middleware.NewPipeline(middleware.PipelineConfig{
		Stages: []middleware.Stage{
			middleware.NewAuth(middleware.AuthConfig{Algorithm: "HS256", Key: []byte(gatewaySecret)}),
			middleware.NewTokenLookup(redisstore.NewRecords(client), nil),
			middleware.RouteCheck{},
			middleware.NewRateLimit(middleware.RateLimitConfig{Counter: redisstore.NewCounter(client, time.Minute, nil)}),
		},
		Forwarder: middleware.NewProxy(middleware.ProxyConfig{
			Upstream: &url.URL{Scheme: "http", Host: "backend:80"}, Transport: transport,
		}),
		Observer: g.recorder, TraceID: TraceID, TraceIDHeader: "X-Trace-Id",
	})
	g.handler = g.providers.Server(8080, pipeline)
	return g
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is the backend. It answers with a status, or fails in a given way.
func (g *gateway) answer(r *http.Request) (*http.Response, error) {
	if g.keep {
		g.mu.Lock()
		g.sent = append(g.sent, r.Header.Clone())
		g.mu.Unlock()
	}
	asked := r.Header.Get("X-Answer")
	response := &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r, Body: http.NoBody,
	}
	switch asked {
	case "refuse":
		return nil, &net.OpError{Op: "dial", Err: io.EOF}
	case "hang":
		return nil, context.DeadlineExceeded
	case "garbage":
		return nil, fmt.Errorf("malformed HTTP response %q", r.URL.RawQuery)
	case "abort":
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader("half of it"), brokenReader{}))
	case "panic":
		panic("a bug")
	default:
		if status, err := strconv.Atoi(asked); err == nil {
			response.StatusCode = status
		}
	}
	return response, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New(`malformed trailer "secret"`) }

// token adds a record to the store and returns a header with its JWT.
func (g *gateway) token(tb testing.TB, key string, limit int, routes ...string) string {
	tb.Helper()
	list := `"` + strings.Join(routes, `","`) + `"`
	g.store.Put(key, fmt.Sprintf(`{"rate_limit":%d,"expires_at":4102444800,"allowed_routes":[%s]}`, limit, list), 0)
	return bearer(tb, key)
}

func bearer(tb testing.TB, key string) string {
	tb.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"api_key": key, "rate_limit": 1, "expires_at": "2100-01-01T00:00:00Z", "allowed_routes": []string{"/a"}, "exp": 4102444800,
	}).SignedString([]byte(gatewaySecret))
	if err != nil {
		tb.Fatal(err)
	}
	return "Bearer " + text
}

// request returns a request from a peer; fields are alternating names and
// values.
func request(tb testing.TB, peer, path, authorization string, fields ...string) *http.Request {
	tb.Helper()
	// httputil.ReverseProxy panics with ErrAbortHandler only if there is a
	// server.
	ctx := context.WithValue(tb.Context(), http.ServerContextKey, &http.Server{})
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://client-host"+path, http.NoBody)
	r.RemoteAddr = peer
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// lockedBuffer is a buffer for log lines, safe for concurrent use.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// discard is an exporter that discards all spans.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }
