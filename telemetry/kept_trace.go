package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// The scopes of the libraries whose spans are written here for requests that
// were not sampled.
const (
	scopeHTTP  = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	scopeRedis = "github.com/redis/go-redis/extra/redisotel"
)

// write writes the trace of a request that made no spans, from what was noted
// on its way: the same spans that the libraries would have made, with the times
// at which things happened and the ids that the client and the backend were
// given. TestWrittenTraceIsTheLiveOne compares the two.
func (r *Recorder) write(req *requestState, ex *middleware.Exchange, d middleware.Decision) {
	ctx := context.WithValue(context.Background(), requestKey{}, req)
	options := []trace.SpanStartOption{
		trace.WithTimestamp(req.began),
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(serverAttributes(r.tracing, ex.Request)...),
	}
	if req.parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, req.parent)
	}
	if req.link.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: req.link}))
	}
	req.next = req.spanID
	ctx, server := r.tracing.Tracers.Tracer(scopeHTTP).Start(ctx, serverSpanName(ex), options...)
	ended := req.began
	for _, step := range ex.Trail {
		ended = step.Started.Add(step.Elapsed)
		r.writeStage(ctx, req, ex, step, ended)
	}
	server.SetAttributes(r.resultAttributes(req, ex, d)...)
	setStatus(server, d.Outcome)
	if d.Status >= http.StatusInternalServerError {
		server.SetStatus(codes.Error, "") // as otelhttp does, in place of a description
	}
	if now := time.Now(); now.After(ended) {
		ended = now
	}
	server.End(trace.WithTimestamp(ended))
}

func (r *Recorder) writeStage(ctx context.Context, req *requestState, ex *middleware.Exchange, step middleware.Step, ended time.Time) {
	ctx, span := r.tracer.Start(ctx, r.stages[step.Stage].span, trace.WithTimestamp(step.Started))
	for i := range req.calls {
		if c := &req.calls[i]; c.stage == step.Stage {
			r.writeCall(ctx, req, c, ended)
		}
	}
	r.describe(span, req, ex, step)
	span.End(trace.WithTimestamp(ended))
}

// writeCall writes the span of a call to Redis or the backend. A call to the
// backend ends with its stage: until then its response was relayed.
func (r *Recorder) writeCall(ctx context.Context, req *requestState, c *call, stageEnded time.Time) {
	ended := c.started.Add(c.elapsed)
	if c.url == nil {
		_, span := r.tracing.Tracers.Tracer(scopeRedis).Start(ctx, redisSpanName(c.name),
			trace.WithTimestamp(c.started), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(r.tracing.redisAttributes...))
		if kind := redisErrorType(c.err); kind != "" {
			span.SetAttributes(names.AttrErrorType.String(kind))
			span.SetStatus(codes.Error, middleware.Unquoted(c.err.Error()))
		}
		span.End(trace.WithTimestamp(ended))
		return
	}
	req.next = c.spanID
	_, span := r.tracing.Tracers.Tracer(scopeHTTP).Start(ctx, "HTTP "+c.method,
		trace.WithTimestamp(c.started), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(clientAttributes(c)...))
	switch {
	case c.err != nil:
		span.SetAttributes(semconv.ErrorType(c.err))
		span.SetStatus(codes.Error, middleware.Unquoted(c.err.Error()))
	default:
		ended = stageEnded
		if c.status >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
	}
	span.End(trace.WithTimestamp(ended))
}

// serverAttributes returns what otelhttp says of a request on its server span,
// as corrected.
func serverAttributes(p *Providers, r *http.Request) []attribute.KeyValue {
	attrs := append(methodAttributes(r.Method), semconv.URLScheme(scheme(r.TLS != nil)))
	attrs = append(attrs, addressAttributes(p.address)...)
	peer, port, _ := strings.Cut(r.RemoteAddr, ":")
	if i := strings.LastIndexByte(r.RemoteAddr, ':'); i >= 0 {
		peer, port = strings.Trim(r.RemoteAddr[:i], "[]"), r.RemoteAddr[i+1:]
	}
	attrs = append(attrs, semconv.NetworkPeerAddress(peer))
	if n, err := strconv.Atoi(port); err == nil && n > 0 {
		attrs = append(attrs, semconv.NetworkPeerPort(n))
	}
	if agent := r.UserAgent(); agent != "" {
		attrs = append(attrs, semconv.UserAgentOriginal(fitting(agent)))
	}
	client := peer
	if len(r.Header["X-Forwarded-For"]) > 0 {
		client = middleware.ClientAddress(p.trusted, r)
	}
	attrs = append(attrs, semconv.ClientAddress(client))
	if r.URL.Path != "" {
		attrs = append(attrs, semconv.URLPath(fitting(r.URL.Path)))
	}
	return append(attrs, protocolAttributes(r.Proto)...)
}

// clientAttributes returns what otelhttp says of a call to the backend, without
// the query.
func clientAttributes(c *call) []attribute.KeyValue {
	url := *c.url
	url.RawQuery, url.ForceQuery = "", false
	attrs := append(methodAttributes(c.method), names.AttrURL.String(fitting(url.String())))
	attrs = append(attrs, addressAttributes(c.url.Host)...)
	proto := c.proto
	if proto == "" {
		proto = "HTTP/1.1"
	}
	attrs = append(attrs, protocolAttributes(proto)...)
	if c.status > 0 {
		attrs = append(attrs, names.AttrStatus.Int(c.status))
	}
	if c.status >= http.StatusBadRequest {
		attrs = append(attrs, names.AttrErrorType.String(strconv.Itoa(c.status)))
	}
	return attrs
}

// addressAttributes splits host:port into server.address and server.port. A
// scheme's own port is left out, as otelhttp does.
func addressAttributes(address string) []attribute.KeyValue {
	host, port := address, ""
	if i := strings.LastIndexByte(address, ':'); i >= 0 && !strings.HasSuffix(address, "]") {
		host, port = address[:i], address[i+1:]
	}
	attrs := []attribute.KeyValue{semconv.ServerAddress(strings.Trim(host, "[]"))}
	if n, err := strconv.Atoi(port); err == nil && n > 0 && n != 80 {
		attrs = append(attrs, semconv.ServerPort(n))
	}
	return attrs
}

func protocolAttributes(proto string) []attribute.KeyValue {
	_, version, ok := strings.Cut(proto, "/")
	if !ok {
		return nil
	}
	return []attribute.KeyValue{semconv.NetworkProtocolVersion(version)}
}
