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

// The instrumentation scopes of the libraries, which kept traces use too.
const (
	scopeHTTP  = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	scopeRedis = "github.com/redis/go-redis/extra/redisotel"
)

// write makes the spans of a kept request after its end, from its trail and its
// recorded calls. They are the same spans as those of a sampled request, with
// the actual times and with the ids that the client and the backend received.
// TestKeptTraceEqualsSampledTrace compares the two.
func (r *Recorder) write(req *requestState, ex *middleware.Exchange, d middleware.Result) {
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
	req.next = req.spanID // the client has received this id
	ctx, server := r.tracing.Tracers.Tracer(scopeHTTP).Start(ctx, serverSpanName(ex), options...)
	ended := req.began
	for _, step := range ex.Trail {
		ended = step.Started.Add(step.Elapsed)
		r.writeStage(ctx, req, ex, step, ended)
	}
	r.describeServer(server, req, ex, d)
	if d.Status >= http.StatusInternalServerError {
		server.SetStatus(codes.Error, "") // otelhttp removes the description in the same way
	}
	if now := time.Now(); now.After(ended) {
		ended = now
	}
	server.End(trace.WithTimestamp(ended))
}

// writeStage makes the span of a stage and the spans of its calls.
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

// writeCall makes the span of a call to Redis or to the backend. A call to the
// backend ends with its stage, after the response body.
func (r *Recorder) writeCall(ctx context.Context, req *requestState, c *call, stageEnded time.Time) {
	ended := c.started.Add(c.elapsed)
	if c.url == nil {
		_, span := r.tracing.Tracers.Tracer(scopeRedis).Start(ctx, strings.ToLower(c.name),
			trace.WithTimestamp(c.started), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(r.tracing.redisAttributes...))
		if kind := redisErrorType(c.err); kind != "" {
			span.SetAttributes(names.AttrErrorType.String(kind))
			span.SetStatus(codes.Error, middleware.Redact(c.err.Error()))
		}
		span.End(trace.WithTimestamp(ended))
		return
	}
	req.next = c.spanID // the backend has received this id
	_, span := r.tracing.Tracers.Tracer(scopeHTTP).Start(ctx, "HTTP "+c.method,
		trace.WithTimestamp(c.started), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(clientAttributes(c)...))
	if c.err != nil {
		span.SetAttributes(semconv.ErrorType(c.err))
		span.SetStatus(codes.Error, middleware.Redact(c.err.Error()))
	} else if ended = stageEnded; c.status >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(ended))
}

// serverAttributes returns the attributes of otelhttp's server span, with the
// corrections of otelhttp.go.
func serverAttributes(p *Providers, r *http.Request) []attribute.KeyValue {
	attrs := append(methodAttributes(r.Method), semconv.URLScheme(scheme))
	attrs = append(attrs, addressAttributes(p.address)...)
	peer, port := splitAddress(r.RemoteAddr)
	attrs = append(attrs, semconv.NetworkPeerAddress(peer))
	if port > 0 {
		attrs = append(attrs, semconv.NetworkPeerPort(port))
	}
	if agent := r.UserAgent(); agent != "" {
		attrs = append(attrs, semconv.UserAgentOriginal(fitting(agent)))
	}
	client := peer
	if len(r.Header["X-Forwarded-For"]) > 0 {
		client = middleware.ClientAddress(middleware.TrustedNetworks(r.Context()), r)
	}
	attrs = append(attrs, semconv.ClientAddress(client))
	if r.URL.Path != "" {
		attrs = append(attrs, semconv.URLPath(fitting(r.URL.Path)))
	}
	return append(attrs, protocolAttributes(r.Proto)...)
}

// clientAttributes returns the attributes of otelhttp's client span, with a URL
// without the query.
func clientAttributes(c *call) []attribute.KeyValue {
	url := *c.url
	url.RawQuery, url.ForceQuery = "", false
	attrs := append(methodAttributes(c.method), names.AttrURL.String(fitting(url.String())))
	attrs = append(attrs, addressAttributes(c.url.Host)...)
	proto := c.proto
	if proto == "" { // without a response
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

// addressAttributes returns server.address and server.port. Like otelhttp, it
// omits the default port of the scheme.
func addressAttributes(address string) []attribute.KeyValue {
	host, port := splitAddress(address)
	attrs := []attribute.KeyValue{semconv.ServerAddress(host)}
	if port > 0 && port != 80 {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	return attrs
}

// splitAddress splits host:port. The port is 0 if there is none.
func splitAddress(address string) (host string, port int) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 || strings.HasSuffix(address, "]") {
		return strings.Trim(address, "[]"), 0
	}
	port, _ = strconv.Atoi(address[i+1:])
	return strings.Trim(address[:i], "[]"), port
}

// protocolAttributes returns network.protocol.version of "HTTP/1.1" and the like.
func protocolAttributes(proto string) []attribute.KeyValue {
	_, version, ok := strings.Cut(proto, "/")
	if !ok {
		return nil
	}
	return []attribute.KeyValue{semconv.NetworkProtocolVersion(version)}
}
