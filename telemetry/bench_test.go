package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// BenchmarkRequest measures the whole pipeline in memory, with a function as
// the backend. Its cases differ in the cost of telemetry only.
func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct {
		name     string
		cfg      TracesConfig
		exporter sdktrace.SpanExporter
	}{
		{"off", TracesConfig{}, nil},
		{"ratio 0 keep off", TracesConfig{SampleRatio: 0}, discard{}},
		{"ratio 0 keep on", TracesConfig{SampleRatio: 0, KeepPerSecond: 50}, discard{}},
		{"ratio 1", TracesConfig{SampleRatio: 1, KeepPerSecond: 50}, discard{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			g := newGateway(b, c.cfg, c.exporter)
			g.keep = false
			g.recorder.lines.log.SetOutput(io.Discard)
			g.recorder.lines.log.SetLevel(0) // the log is not what is measured
			r := request(b, untrustedPeer, "/a/b", g.token(b, "k", 1<<40, "/a/*"))
			b.ReportAllocs()
			for b.Loop() {
				answer := httptest.NewRecorder()
				if g.handler.ServeHTTP(answer, r); answer.Code != http.StatusOK {
					b.Fatalf("answered %d", answer.Code)
				}
			}
		})
	}
}
