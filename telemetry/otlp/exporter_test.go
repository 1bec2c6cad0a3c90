package otlp

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// receiver is a collector that counts exports and stores the last tenant.
type receiver struct {
	collectorv1.UnimplementedTraceServiceServer

	exports atomic.Int64
	tenant  atomic.Value
	format  atomic.Value // Content-Type, over HTTP
}

func (r *receiver) Export(
	ctx context.Context, _ *collectorv1.ExportTraceServiceRequest,
) (*collectorv1.ExportTraceServiceResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	r.tenant.Store(strings.Join(headers.Get("x-tenant"), ","))
	r.exports.Add(1)
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.URL.Path != "/v1/traces" {
		http.NotFound(w, request)
		return
	}
	r.tenant.Store(request.Header.Get("X-Tenant"))
	r.format.Store(request.Header.Get("Content-Type"))
	r.exports.Add(1)
}

// receivers listen for each scheme of an endpoint. The file has the
// certificate of the TLS receivers.
type receivers struct {
	receiver
	grpc, grpcs, http, https string // host:port
	certificate              string
}

func startReceivers(t *testing.T) *receivers {
	t.Helper()
	r := &receivers{}
	plain, secure := httptest.NewServer(r), httptest.NewTLSServer(r)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	r.http, r.https = plain.Listener.Addr().String(), secure.Listener.Addr().String()
	r.grpc = serveGRPC(t, r)
	r.grpcs = serveGRPC(t, r, grpc.Creds(credentials.NewServerTLSFromCert(&secure.TLS.Certificates[0])))
	r.certificate = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(r.certificate, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func serveGRPC(t *testing.T, r *receivers, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	collectorv1.RegisterTraceServiceServer(server, r)
	t.Cleanup(server.Stop)
	go func() { _ = server.Serve(listener) }() // until Stop
	return listener.Addr().String()
}

// silence clears OTEL_* variables of the machine.
func silence(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "") // the specification takes an empty variable for none
		}
	}
}

func TestExporterEndpoints(t *testing.T) {
	silence(t)
	r := startReceivers(t)
	const nobody = "http://127.0.0.1:1"
	for name, tt := range map[string]struct {
		endpoint string
		env      map[string]string // less "OTEL_EXPORTER_OTLP_"
		format   string
	}{
		"config grpc":  {endpoint: "grpc://" + r.grpc},
		"config http":  {endpoint: "http://" + r.http, format: "application/x-protobuf"},
		"config path":  {endpoint: "http://" + r.http + "/v1/traces"},
		"config grpcs": {endpoint: "grpcs://" + r.grpcs, env: map[string]string{"CERTIFICATE": r.certificate, "INSECURE": "true"}},
		"config https": {endpoint: "https://" + r.https, env: map[string]string{"CERTIFICATE": r.certificate, "INSECURE": "true"}},

		"config grpc wins": {endpoint: "grpc://" + r.grpc, env: map[string]string{
			"ENDPOINT": nobody, "TRACES_ENDPOINT": nobody, "PROTOCOL": "http/protobuf", "CERTIFICATE": r.certificate, "INSECURE": "false",
		}},
		"config http wins": {endpoint: "http://" + r.http, env: map[string]string{
			"ENDPOINT": nobody, "TRACES_ENDPOINT": nobody, "PROTOCOL": "grpc", "CERTIFICATE": r.certificate,
		}},

		"env":          {env: map[string]string{"ENDPOINT": "http://" + r.http}, format: "application/x-protobuf"},
		"env grpc":     {env: map[string]string{"ENDPOINT": "http://" + r.grpc, "PROTOCOL": "grpc"}},
		"env protobuf": {env: map[string]string{"ENDPOINT": "http://" + r.http, "PROTOCOL": "http/protobuf"}},
		"env json":     {env: map[string]string{"ENDPOINT": "http://" + r.http, "PROTOCOL": "http/json"}, format: "application/json"},
		"env https":    {env: map[string]string{"ENDPOINT": "https://" + r.https, "CERTIFICATE": r.certificate}},
		"env host and port": {env: map[string]string{
			"ENDPOINT": strings.Replace(r.grpc, "127.0.0.1", "localhost", 1), "PROTOCOL": "grpc", "INSECURE": "true",
		}},
		"env for traces wins": {env: map[string]string{
			"ENDPOINT": nobody, "PROTOCOL": "http/protobuf", "TRACES_ENDPOINT": "http://" + r.grpc, "TRACES_PROTOCOL": "grpc",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
			for key, value := range tt.env {
				t.Setenv("OTEL_EXPORTER_OTLP_"+key, value)
			}
			exporter, err := NewExporter(t.Context(), tt.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			before := r.exports.Load()
			export(t, exporter)
			if r.exports.Load() != before+1 || r.tenant.Load() != "blue" {
				t.Errorf("%d exports arrived, of tenant %v; want 1, of blue", r.exports.Load()-before, r.tenant.Load())
			}
			if tt.format != "" && r.format.Load() != tt.format {
				t.Errorf("the format is %v, want %s", r.format.Load(), tt.format)
			}
		})
	}
}

func export(t *testing.T, exporter sdktrace.SpanExporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exportTimeout)
	defer cancel()
	if err := exporter.ExportSpans(ctx, tracetest.SpanStubs{{Name: "a"}}.Snapshots()); err != nil {
		t.Error(err)
	}
	if err := exporter.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestNoExporter(t *testing.T) {
	silence(t)
	if exporter, err := NewExporter(t.Context(), ""); exporter != nil || err != nil {
		t.Errorf("without an endpoint: %v, %v; want neither exporter nor error", exporter, err)
	}
	for _, endpoint := range []string{"jaeger:4317", "ftp://jaeger:4317", "grpc://", "%"} {
		if exporter, err := NewExporter(t.Context(), endpoint); err == nil {
			t.Errorf("%s: exporter %v, want an error", endpoint, exporter)
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")
	if _, err := NewExporter(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "carrier-pigeon") {
		t.Errorf("an unknown protocol: %v, want an error that names it", err)
	}
}

// An endpoint that the exporters would replace by localhost, or reach in another
// way than it says, is refused by the variable's name.
func TestUnreadableEndpoints(t *testing.T) {
	const general, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for _, name := range []string{general, traces} {
		for _, protocol := range []string{"grpc", "http/protobuf", ""} {
			for _, endpoint := range []string{
				"10.0.0.5:4317", "[2001:db8::5]:4317", "collector:4317", "collector", "grpc://collector:4317", "http://", "https://:4317",
				"//collector:4317", "http//collector:4317", "http://collector:port", "s3cret@collector:4317", "%",
			} {
				silence(t)
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
				t.Setenv(name, endpoint)
				exporter, err := NewExporter(t.Context(), "")
				if exporter != nil || err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s=%s with protocol %q: %v, %v; want an error that names the variable",
						name, endpoint, protocol, exporter, err)
				}
			}
		}
	}
}
