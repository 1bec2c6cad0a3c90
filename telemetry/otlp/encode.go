package otlp

import (
	"context"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// encodedExporter is an OTLP exporter that encodes opentelemetry/proto/trace/v1
// directly. The encoder of otlptrace v1.47 makes a message for each attribute,
// which is half of all allocations of a gateway that samples every request.
// otlptrace's client sends the bytes; it handles the endpoint, credentials,
// compression and retries.
//
// The client accepts messages only. Protobuf writes the unknown fields of a
// message unchanged, so the encoded bytes are the unknown fields of an empty one.
type encodedExporter struct {
	client otlptrace.Client
	buffer []byte // reused; the SDK exports one batch at a time
}

func newEncodedExporter(ctx context.Context, client otlptrace.Client) (*encodedExporter, error) {
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	return &encodedExporter{client: client}, nil
}

// ExportSpans implements sdktrace.SpanExporter. All spans have the resource of the
// provider.
func (e *encodedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	e.buffer = appendResourceSpans(e.buffer[:0], spans)
	message := &tracepb.ResourceSpans{}
	message.ProtoReflect().SetUnknown(e.buffer)
	return e.client.UploadTraces(ctx, []*tracepb.ResourceSpans{message})
}

// Shutdown implements sdktrace.SpanExporter.
func (e *encodedExporter) Shutdown(ctx context.Context) error { return e.client.Stop(ctx) }

// The functions below append the fields of ResourceSpans, ScopeSpans, Span, Event,
// Link, Status and KeyValue. The calls contain the numbers of the fields.

func appendResourceSpans(b []byte, spans []sdktrace.ReadOnlySpan) []byte {
	resource := spans[0].Resource()
	b = appendMessage(b, 1, func(b []byte) []byte { return appendAttributes(b, 1, resource.Attributes()) })
	done := make(map[instrumentation.Scope]bool)
	for _, first := range spans {
		scope := first.InstrumentationScope()
		if done[scope] {
			continue
		}
		done[scope] = true
		b = appendMessage(b, 2, func(b []byte) []byte {
			if scope != (instrumentation.Scope{}) {
				b = appendMessage(b, 1, func(b []byte) []byte {
					b = appendString(appendString(b, 1, scope.Name), 2, scope.Version)
					return appendAttributes(b, 3, scope.Attributes.ToSlice())
				})
			}
			for _, span := range spans {
				if span.InstrumentationScope() == scope {
					b = appendMessage(b, 2, func(b []byte) []byte { return appendSpan(b, span) })
				}
			}
			return appendString(b, 3, scope.SchemaURL)
		})
	}
	return appendString(b, 3, resource.SchemaURL())
}

func appendSpan(b []byte, span sdktrace.ReadOnlySpan) []byte {
	sc, parent := span.SpanContext(), span.Parent()
	b = appendIDs(b, sc)
	b = appendString(b, 3, sc.TraceState().String())
	if id := parent.SpanID(); id.IsValid() {
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), id[:])
	}
	b = appendString(b, 5, span.Name())
	b = appendInt(b, 6, int(span.SpanKind())) // the SDK and OTLP have the same numbers
	b = appendTime(b, 7, span.StartTime())
	b = appendTime(b, 8, span.EndTime())
	b = appendAttributes(b, 9, span.Attributes())
	b = appendInt(b, 10, span.DroppedAttributes())
	for _, event := range span.Events() {
		b = appendMessage(b, 11, func(b []byte) []byte {
			b = appendString(appendTime(b, 1, event.Time), 2, event.Name)
			return appendInt(appendAttributes(b, 3, event.Attributes), 4, event.DroppedAttributeCount)
		})
	}
	b = appendInt(b, 12, span.DroppedEvents())
	for _, link := range span.Links() {
		b = appendMessage(b, 13, func(b []byte) []byte {
			b = appendAttributes(appendIDs(b, link.SpanContext), 4, link.Attributes)
			return appendFlags(appendInt(b, 5, link.DroppedAttributeCount), 6, link.SpanContext.TraceFlags(), link.SpanContext)
		})
	}
	b = appendInt(b, 14, span.DroppedLinks())
	b = appendMessage(b, 15, func(b []byte) []byte {
		status := span.Status()
		code := map[codes.Code]int{codes.Ok: 1, codes.Error: 2}[status.Code]
		return appendInt(appendString(b, 2, status.Description), 3, code)
	})
	return appendFlags(b, 16, sc.TraceFlags(), parent)
}

func appendIDs(b []byte, sc trace.SpanContext) []byte {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), traceID[:])
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), spanID[:])
}

// appendFlags appends the trace flags and the flag for a remote parent.
func appendFlags(b []byte, field protowire.Number, flags trace.TraceFlags, parent trace.SpanContext) []byte {
	value := uint32(flags) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	if parent.IsRemote() {
		value |= uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, field, protowire.Fixed32Type), value)
}

func appendAttributes(b []byte, field protowire.Number, attributes []attribute.KeyValue) []byte {
	for _, kv := range attributes {
		b = appendMessage(b, field, func(b []byte) []byte {
			b = appendString(b, 1, string(kv.Key))
			return appendMessage(b, 2, func(b []byte) []byte { return appendValue(b, kv.Value) })
		})
	}
	return b
}

// appendValue appends a value. It encodes lists, which the gateway does not use,
// as strings.
func appendValue(b []byte, v attribute.Value) []byte {
	switch v.Type() { //nolint:exhaustive // the default encodes all other types as strings
	case attribute.STRING:
		return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), v.AsString())
	case attribute.BOOL:
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), protowire.EncodeBool(v.AsBool()))
	case attribute.INT64:
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		return protowire.AppendVarint(b, uint64(v.AsInt64())) //nolint:gosec // two's complement is the encoding
	case attribute.FLOAT64:
		return protowire.AppendFixed64(protowire.AppendTag(b, 4, protowire.Fixed64Type), math.Float64bits(v.AsFloat64()))
	default:
		return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), v.String())
	}
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendInt(b []byte, field protowire.Number, n int) []byte {
	if n <= 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, uint64(max(0, t.UnixNano())))
}

// appendMessage appends an embedded message. The length precedes the message but
// is known later: appendMessage reserves one byte, and moves the message if the
// length needs more.
func appendMessage(b []byte, field protowire.Number, message func([]byte) []byte) []byte {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0)
	start := len(b)
	b = message(b)
	length := uint64(len(b) - start) //nolint:gosec // not negative
	if size := protowire.SizeVarint(length); size > 1 {
		b = append(b, make([]byte, size-1)...)
		copy(b[start+size-1:], b[start:start+int(length)]) //nolint:gosec // the length of a slice
	}
	protowire.AppendVarint(b[:start-1], length)
	return b
}
