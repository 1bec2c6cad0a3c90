package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware/redisstore"

	"tyk_proxy/telemetry/names"
)

// Differences that the comparison ignores, by span. otelhttp v0.72 marks the
// client span of an aborted response as an error. In a kept trace only the
// span of the stage is marked.
func onlyLive(reason, line string) string {
	if reason != "abort" {
		return line
	}
	if strings.HasPrefix(line, "HTTP GET") {
		line = strings.ReplaceAll(line, "Error \"malformed trailer …\" {error.type=*errors.errorString ", "Unset \"\" {")
	}
	return line
}

// The trace of a kept request is the same as that of a sampled request.
func TestKeptTraceEqualsSampledTrace(t *testing.T) {
	callers := "00-" + callersTrace + "-" + callersSpan
	for name, row := range map[string]struct {
		peer, path, authorization string
		fields                    []string
	}{
		"no credentials":         {untrustedPeer, "/a?q=1", "", nil},
		"strange text":           {untrustedPeer, "/a%ff", "", []string{"User-Agent", "agent \xfe" + strings.Repeat("x", 3000)}},
		"route not allowed":      {untrustedPeer, "/other", "yes", []string{"User-Agent", "curl/8"}},
		"backend's 500":          {untrustedPeer, "/a?q=1", "yes", []string{"X-Answer", "500"}},
		"backend unreachable":    {untrustedPeer, "/a?q=1", "yes", []string{"X-Answer", "refuse"}},
		"backend hangs":          {untrustedPeer, "/a", "yes", []string{"X-Answer", "hang"}},
		"backend's nonsense":     {untrustedPeer, "/a?secret", "yes", []string{"X-Answer", "garbage"}},
		"backend breaks off":     {untrustedPeer, "/a", "yes", []string{"X-Answer", "abort"}},
		"a panic":                {untrustedPeer, "/a", "yes", []string{"X-Answer", "panic"}},
		"an untrusted caller":    {untrustedPeer, "/a", "", []string{"Traceparent", callers + "-%s", "X-Forwarded-For", "1.2.3.4"}},
		"a trusted caller":       {trustedPeer, "/a", "", []string{"Traceparent", callers + "-%s", "X-Forwarded-For", "1.2.3.4"}},
		"an unknown method":      {untrustedPeer, "/a", "yes", []string{"method", "BREW"}},
		"a peer of IP version 6": {"[2001:db8::1]:4711", "/a", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			traces := make(map[string]string)
			for flag, cfg := range map[string]TracesConfig{
				"01": {SampleRatio: 1, KeepPerSecond: 10}, "00": {SampleRatio: 0, KeepPerSecond: 10},
			} {
				g := newGateway(t, cfg, tracetest.NewInMemoryExporter())
				authorization := row.authorization
				if authorization != "" {
					authorization = g.token(t, "k", 10, "/a")
				}
				fields := slices.Clone(row.fields)
				for i := range fields {
					fields[i] = strings.ReplaceAll(fields[i], "%s", flag)
				}
				r := request(t, row.peer, row.path, authorization, fields...)
				if len(fields) > 0 && fields[0] == "method" {
					r.Method = fields[1]
				}
				answer, spans := g.serve(t, r)
				traces[flag] = readable(t, answer, spans, r.Header.Get("X-Answer"))
				if sent := g.lastSentOrNone(); sent != nil {
					checkParentOfBackend(t, sent, spans, flag)
				}
			}
			if diff := cmp.Diff(traces["01"], traces["00"]); diff != "" {
				t.Errorf("-sampled +kept:\n%s", diff)
			}
		})
	}
}

// The spans of Redis commands are the same too: of an answered command, of a
// script that Redis does not know, and of an error reply.
func TestKeptRedisSpansEqualSampledSpans(t *testing.T) {
	server := miniredis.RunT(t)
	for _, fault := range []string{"", "SCRIPT FLUSH", "LOADING Redis is loading the \"dataset\""} {
		traces := make(map[float64]string)
		for _, ratio := range []float64{0, 1} {
			server.FlushAll()
			client := redisstore.NewClient(redisstore.Options{Addr: server.Addr(), DialTimeout: time.Second, Timeout: time.Second})
			g := newGatewayOn(t, TracesConfig{SampleRatio: ratio, KeepPerSecond: 10}, client)
			if err := client.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = server.Set("token:k", `{"rate_limit":0,"expires_at":4102444800,"allowed_routes":["/a"]}`)
			switch fault {
			case "":
			case "SCRIPT FLUSH":
				g.scriptFlush(t, server.Addr())
			default:
				server.SetError(fault)
			}
			answer, spans := g.serve(t, request(t, untrustedPeer, "/a", bearer(t, "k")))
			server.SetError("")
			traces[ratio] = readable(t, answer, spans, "")
			if !strings.Contains(traces[ratio], "getrange (client, scope "+scopeRedis+")") {
				t.Errorf("%q: no span of the command in\n%s", fault, traces[ratio])
			}
		}
		if diff := cmp.Diff(traces[1], traces[0]); diff != "" {
			t.Errorf("%q: -sampled +kept:\n%s", fault, diff)
		}
	}
}

func (*gateway) scriptFlush(t *testing.T, addr string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	if err := client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) lastSentOrNone() http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sent) == 0 {
		return nil
	}
	return g.sent[len(g.sent)-1]
}

// checkParentOfBackend compares the traceparent that the backend received with
// the client span.
func checkParentOfBackend(t *testing.T, sent http.Header, spans tracetest.SpanStubs, flag string) {
	t.Helper()
	for _, span := range spans {
		if span.SpanKind == trace.SpanKindClient {
			want := fmt.Sprintf("00-%s-%s-%s", span.SpanContext.TraceID(), span.SpanContext.SpanID(), flag)
			if got := sent.Get("Traceparent"); got != want {
				t.Errorf("the backend got traceparent %s, want the client span's %s", got, want)
			}
		}
	}
}

// readable lists a trace by span name, without ids and times.
func readable(t *testing.T, answer *httptest.ResponseRecorder, spans tracetest.SpanStubs, reason string) string {
	t.Helper()
	names := map[trace.SpanID]string{}
	for _, span := range spans {
		names[span.SpanContext.SpanID()] = span.Name
	}
	lines := make([]string, 0, len(spans))
	for _, span := range spans {
		if id := span.SpanContext.TraceID().String(); id != answer.Header().Get("X-Trace-Id") {
			t.Errorf("span %s is in trace %s, and the client was told %s", span.Name, id, answer.Header().Get("X-Trace-Id"))
		}
		if span.EndTime.Before(span.StartTime) {
			t.Errorf("span %s ends before it starts", span.Name)
		}
		line := fmt.Sprintf("%s (%s, scope %s) of %q, remote parent %t, %s %q {%s}", span.Name, span.SpanKind,
			span.InstrumentationScope.Name, names[span.Parent.SpanID()], span.Parent.IsRemote(),
			span.Status.Code, span.Status.Description, everyAttribute(span.Attributes))
		for _, event := range span.Events {
			line += fmt.Sprintf("\n  event %s {%s}", event.Name, everyAttribute(event.Attributes))
		}
		for _, link := range span.Links {
			line += fmt.Sprintf("\n  link %s", link.SpanContext.SpanID())
		}
		lines = append(lines, onlyLive(reason, line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func everyAttribute(all []attribute.KeyValue) string {
	var texts []string
	for _, kv := range all {
		if kv.Key != names.AttrReset {
			texts = append(texts, string(kv.Key)+"="+kv.Value.String())
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}
