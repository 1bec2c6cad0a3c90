package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP/HTTP receiver that stores spans. Like a real one it
// serves one path only (OTLP specification, "OTLP/HTTP Request").
type collector struct {
	url string

	mu      sync.Mutex
	spans   []*tracev1.Span
	strange []string // what arrived and was not an export of spans
}

func startCollector(tb testing.TB) *collector {
	tb.Helper()
	c := &collector{}
	server := httptest.NewServer(http.HandlerFunc(c.receive))
	tb.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *collector) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var export collectorv1.ExportTraceServiceRequest
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.URL.Path != "/v1/traces" || err != nil || proto.Unmarshal(body, &export) != nil {
		c.strange = append(c.strange, r.Method+" "+r.URL.Path)
		http.NotFound(w, r)
		return
	}
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// requests returns the number of traces with a server span, and the number of
// those with a span of the last stage. They are equal if no span was lost.
func (c *collector) requests(tb testing.TB) (served, proxied int) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.strange) > 0 {
		tb.Errorf("the collector received other requests: %q", c.strange)
	}
	last := map[string]bool{}
	for _, span := range c.spans {
		if span.GetName() == "gateway.proxy" {
			last[string(span.GetTraceId())] = true
		}
	}
	for _, span := range c.spans {
		if span.GetKind() != tracev1.Span_SPAN_KIND_SERVER {
			continue
		}
		served++
		if last[string(span.GetTraceId())] {
			proxied++
		}
	}
	return served, proxied
}

// startDeadCollector returns the URL of a collector that accepts connections
// and never answers.
func startDeadCollector(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String()
}
