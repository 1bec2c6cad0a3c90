package otlp

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// caught is an OTLP client that parses and stores the messages.
type caught struct{ received []*tracepb.ResourceSpans }

func (*caught) Start(context.Context) error { return nil }
func (*caught) Stop(context.Context) error  { return nil }

func (c *caught) UploadTraces(_ context.Context, messages []*tracepb.ResourceSpans) error {
	for _, message := range messages {
		bytes, err := proto.Marshal(message)
		if err != nil {
			return err
		}
		read := &tracepb.ResourceSpans{}
		if err := proto.Unmarshal(bytes, read); err != nil {
			return err
		}
		slices.SortFunc(read.ScopeSpans, func(a, b *tracepb.ScopeSpans) int {
			return strings.Compare(a.GetScope().GetName(), b.GetScope().GetName())
		})
		c.received = append(c.received, read)
	}
	return nil
}

// The messages are equal to those of the SDK's encoder.
func TestEncodingEqualsSDK(t *testing.T) {
	spans := spansOfAllKinds(t)
	ours, theirs := &caught{}, &caught{}
	exporter, err := newEncodedExporter(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	library := otlptrace.NewUnstarted(theirs)
	for range 2 { // the second time into a used buffer
		if err := exporter.ExportSpans(t.Context(), spans); err != nil {
			t.Fatal(err)
		}
		if err := library.ExportSpans(t.Context(), spans); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(theirs.received, ours.received, protocmp.Transform()); diff != "" || len(ours.received) != 2 {
		t.Errorf("-SDK +otlp:\n%s", diff)
	}
}

func spansOfAllKinds(t *testing.T) []sdktrace.ReadOnlySpan {
	t.Helper()
	state, err := trace.ParseTraceState("a=1,b=2")
	if err != nil {
		t.Fatal(err)
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: 1, TraceState: state,
	})
	attributes := []attribute.KeyValue{
		attribute.String("s", "text"), attribute.String("empty", ""), attribute.Int("i", -1), attribute.Int("zero", 0),
		attribute.Float64("f", -1.5), attribute.Bool("yes", true), attribute.Bool("no", false),
		attribute.String("long", strings.Repeat("é", 10_000)),
	}
	described := resource.NewWithAttributes("https://schema", attributes...)
	stubs := make(tracetest.SpanStubs, 0, 8)
	stubs = append(stubs, tracetest.SpanStub{}, tracetest.SpanStub{Name: "second", SpanContext: sc, StartTime: time.Unix(-1, 0)})
	for kind := range trace.SpanKindConsumer + 1 {
		stubs = append(stubs, tracetest.SpanStub{
			Name: "name", SpanKind: kind, SpanContext: sc, Parent: sc.WithRemote(kind == trace.SpanKindServer),
			StartTime: time.Unix(1, 2), EndTime: time.Unix(3, 4), Attributes: attributes,
			Events: []sdktrace.Event{{Name: "event", Time: time.Unix(2, 0), Attributes: attributes, DroppedAttributeCount: 3}, {}},
			Links:  []sdktrace.Link{{SpanContext: sc.WithRemote(true), Attributes: attributes, DroppedAttributeCount: 300}},
			Status: sdktrace.Status{Code: []codes.Code{codes.Unset, codes.Error, codes.Ok}[int(kind)%3], Description: "why"},

			DroppedAttributes: 1, DroppedEvents: 200, DroppedLinks: 70_000,
			InstrumentationScope: instrumentation.Scope{
				Name: []string{"a", "b"}[int(kind)%2], Version: "v1", SchemaURL: "https://scope",
				Attributes: attribute.NewSet(attributes...),
			},
		})
	}
	for i := range stubs {
		stubs[i].Resource = described
	}
	return stubs.Snapshots()
}

// BenchmarkExport compares the two encoders, without the network.
func BenchmarkExport(b *testing.B) {
	var spans []sdktrace.ReadOnlySpan
	for len(spans) < batchSpans {
		spans = append(spans, tracetest.SpanStubs{{
			Name: "gateway.rate_limit", SpanKind: trace.SpanKindInternal, StartTime: time.Unix(1, 2), EndTime: time.Unix(3, 4),
			Resource: resource.Empty(), InstrumentationScope: instrumentation.Scope{Name: "tyk_proxy"},
			Attributes: []attribute.KeyValue{
				attribute.String("gateway.stage", "rate_limit"), attribute.String("gateway.verdict", "allow"),
				attribute.String("gateway.reason", "within_limit"), attribute.String("gateway.key.id", "76c4e610ee3f5b20"),
				attribute.Int("gateway.rate_limit.limit", 10), attribute.Float64("gateway.rate_limit.reset", 23.5),
			},
		}}.Snapshots()...)
	}
	exporter, err := newEncodedExporter(b.Context(), marshalled{})
	if err != nil {
		b.Fatal(err)
	}
	for name, e := range map[string]sdktrace.SpanExporter{"ours": exporter, "SDK": otlptrace.NewUnstarted(marshalled{})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := e.ExportSpans(b.Context(), spans); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// marshalled is a client that only marshals.
type marshalled struct{}

func (marshalled) Start(context.Context) error { return nil }
func (marshalled) Stop(context.Context) error  { return nil }

func (marshalled) UploadTraces(_ context.Context, messages []*tracepb.ResourceSpans) error {
	for _, message := range messages {
		if _, err := proto.Marshal(message); err != nil {
			return err
		}
	}
	return nil
}
