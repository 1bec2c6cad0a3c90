package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// redactingTracers removes secrets from the spans of instrumentation libraries.
// otelhttp v0.72 records the query in url.full. otelhttp and redisotel v9 record
// the text of errors: net/http quotes the backend's response in it, and Redis
// quotes the command's arguments, such as the api key or the password.
type redactingTracers struct{ trace.TracerProvider }

// Tracer implements trace.TracerProvider.
func (p redactingTracers) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return redactingTracer{p.TracerProvider.Tracer(name, options...)}
}

type redactingTracer struct{ trace.Tracer }

// Start implements trace.Tracer.
func (t redactingTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx, span := t.Tracer.Start(ctx, name, options...)
	if span.IsRecording() {
		span = &redactingSpan{Span: span}
	}
	return ctx, span
}

type redactingSpan struct {
	trace.Span

	ignoreStatus bool // the recorded error is expected
}

// SetAttributes implements trace.Span.
func (s *redactingSpan) SetAttributes(all ...attribute.KeyValue) {
	for i := range all {
		if all[i].Key == names.AttrURL {
			address, _, _ := strings.Cut(all[i].Value.AsString(), "?")
			all[i] = names.AttrURL.String(fitting(address))
		}
	}
	s.Span.SetAttributes(all...)
}

// SetStatus implements trace.Span.
func (s *redactingSpan) SetStatus(code codes.Code, description string) {
	if !s.ignoreStatus {
		s.Span.SetStatus(code, middleware.Redact(description))
	}
}

// RecordError implements trace.Span. It records the error's type, not its text.
// Only redisotel calls it, and then SetStatus. NOSCRIPT is not an error, because
// go-redis then sends the script.
func (s *redactingSpan) RecordError(err error, _ ...trace.EventOption) {
	kind := redisErrorType(err)
	if s.ignoreStatus = kind == ""; !s.ignoreStatus {
		s.Span.SetAttributes(names.AttrErrorType.String(kind))
	}
}
