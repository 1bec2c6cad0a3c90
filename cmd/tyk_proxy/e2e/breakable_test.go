package e2e_test

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"tyk_proxy/middleware/storetest"
)

// The states of a breakable collector.
const (
	takes = iota
	refuses
	hangs
)

// breakable is an OTLP collector over gRPC or HTTP with several kinds of
// failure. At first it is down.
type breakable struct {
	collectorv1.UnimplementedTraceServiceServer

	url  string // as telemetry.traces.endpoint
	addr string
	tb   testing.TB
	stop func() // nil while it is down

	mu        sync.Mutex
	mood      int
	asked     [hangs + 1]int  // exports that arrived, by mood
	spans     map[string]bool // a retried export is not taken twice
	traces    map[string]bool
	resources []map[string]string
	tenants   []string // what the x-tenant header said
}

func newBreakable(tb testing.TB, scheme string) *breakable {
	tb.Helper()
	c := &breakable{addr: storetest.FreeAddr(tb), tb: tb, spans: make(map[string]bool), traces: make(map[string]bool)}
	c.url = scheme + "://" + c.addr
	tb.Cleanup(c.down)
	return c
}

// up starts the collector on its port.
func (c *breakable) up() {
	c.tb.Helper()
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		c.tb.Fatal(err)
	}
	if strings.HasPrefix(c.url, "grpc") {
		server := grpc.NewServer()
		collectorv1.RegisterTraceServiceServer(server, c)
		c.stop = server.Stop
		go func() { _ = server.Serve(listener) }() // until stop
		return
	}
	server := &http.Server{Handler: c}
	c.stop = func() { _ = server.Close() }
	go func() { _ = server.Serve(listener) }()
}

// down stops the collector and closes its connections.
func (c *breakable) down() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

func (c *breakable) set(mood int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mood = mood
}

// Export implements collectorv1.TraceServiceServer.
func (c *breakable) Export(
	ctx context.Context, export *collectorv1.ExportTraceServiceRequest,
) (*collectorv1.ExportTraceServiceResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	switch c.receive(export, headers.Get("x-tenant")) {
	case refuses:
		return nil, status.Error(codes.Unavailable, "the collector is overloaded")
	case hangs:
		<-ctx.Done()
	}
	return &collectorv1.ExportTraceServiceResponse{}, ctx.Err()
}

// ServeHTTP implements http.Handler.
func (c *breakable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var export collectorv1.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || err != nil || proto.Unmarshal(body, &export) != nil {
		http.NotFound(w, r)
		return
	}
	switch c.receive(&export, r.Header.Values("X-Tenant")) {
	case refuses:
		w.WriteHeader(http.StatusServiceUnavailable)
	case hangs:
		<-r.Context().Done()
	}
}

// receive stores the spans if the collector works, and returns its state.
func (c *breakable) receive(export *collectorv1.ExportTraceServiceRequest, tenant []string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[c.mood]++
	if c.mood != takes {
		return c.mood
	}
	c.tenants = append(c.tenants, tenant...)
	for _, sent := range export.GetResourceSpans() {
		resource := make(map[string]string)
		for _, attribute := range sent.GetResource().GetAttributes() {
			resource[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		}
		c.resources = append(c.resources, resource)
		for _, scope := range sent.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans[string(span.GetTraceId())+string(span.GetSpanId())] = true
				c.traces[hex.EncodeToString(span.GetTraceId())] = true
			}
		}
	}
	return takes
}

func (c *breakable) taken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans)
}

// awaitAsked sends requests until the collector receives an export in its
// present state. gRPC may be waiting to reconnect.
func (c *breakable) awaitAsked(p *program, jwt string, within time.Duration) {
	c.tb.Helper()
	eventually(c.tb, within, "the collector is asked", func() bool {
		p.get("/api/v1/test", jwt)
		time.Sleep(50 * time.Millisecond)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.asked[c.mood] > 0
	})
}

// awaitNew sends requests until the trace of one of them has arrived. Older
// traces in a full queue arrive first.
func (c *breakable) awaitNew(p *program, jwt string, within time.Duration) {
	c.tb.Helper()
	var ids []string
	eventually(c.tb, within, "the trace of a later request arrives", func() bool {
		ids = append(ids, p.get("/api/v1/test", jwt).header.Get("X-Trace-Id"))
		time.Sleep(50 * time.Millisecond)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range ids {
			if c.traces[id] {
				return true
			}
		}
		return false
	})
}
