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

// redactingTracers is for instrumentation libraries whose spans tell more than
// may leave the process: otelhttp records the query string in url.full, and
// both otelhttp and redisotel record the text of errors, in which net/http
// quotes what the backend sent and Redis the arguments of the command, which
// name the api key or carry the password.
type redactingTracers struct{ trace.TracerProvider }

// Tracer implements trace.TracerProvider.
func (p redactingTracers) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return redactingTracer{p.TracerProvider.Tracer(name, options...)}
}

type redactingTracer struct{ trace.Tracer }

// Start implements trace.Tracer.
func (t redactingTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx, span := t.Tracer.Start(ctx, name, options...) //nolint:spancheck // the caller ends it
	if span.IsRecording() {
		span = &redactingSpan{Span: span}
	}
	return ctx, span //nolint:spancheck // the caller ends it
}

type redactingSpan struct {
	trace.Span

	harmless bool // the error that was recorded is none
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
	if !s.harmless {
		s.Span.SetStatus(code, middleware.Unquoted(description))
	}
}

// RecordError implements trace.Span. Only redisotel calls it, with a status
// after it that carries the same text: the kind of error is what is left to
// say. A script that Redis does not know yet is none, go-redis sends it.
func (s *redactingSpan) RecordError(err error, _ ...trace.EventOption) {
	kind := redisErrorType(err)
	if s.harmless = kind == ""; !s.harmless {
		s.Span.SetAttributes(names.AttrErrorType.String(kind))
	}
}
