package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
	traceparent  = "00-" + callersTrace + "-" + callersSpan
)

// serverSpan returns the server span.
func serverSpan(t *testing.T, spans tracetest.SpanStubs) tracetest.SpanStub {
	t.Helper()
	for _, span := range spans {
		if span.SpanKind == trace.SpanKindServer {
			return span
		}
	}
	t.Fatal("no server span was exported")
	return tracetest.SpanStub{}
}

func (g *gateway) lastSent(t *testing.T) http.Header {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sent) == 0 {
		t.Fatal("the backend received no request")
	}
	return g.sent[len(g.sent)-1]
}

// The trace context of an untrusted peer becomes a link only.
func TestUntrustedTraceContext(t *testing.T) {
	for _, flags := range []string{"-00", "-01"} {
		g := newGateway(t, TracesConfig{SampleRatio: 1, KeepPerSecond: 10}, tracetest.NewInMemoryExporter())
		token := g.token(t, "k", 100, "/a")
		answer, spans := g.serve(t, request(t, untrustedPeer, "/a", token,
			"Traceparent", traceparent+flags, "Tracestate", "vendor=secret", "Baggage", "user=secret", "X-Forwarded-For", "1.2.3.4"))
		server := serverSpan(t, spans)
		if server.Parent.IsValid() || server.SpanContext.TraceID().String() == callersTrace {
			t.Errorf("%s: the gateway joined the trace of an untrusted peer", flags)
		}
		if len(server.Links) != 1 || server.Links[0].SpanContext.TraceID().String() != callersTrace ||
			server.Links[0].SpanContext.SpanID().String() != callersSpan || server.Links[0].SpanContext.TraceState().Len() != 0 {
			t.Errorf("%s: links %v, want one to the peer's span, without its tracestate", flags, server.Links)
		}
		if answer.Header().Get("X-Trace-Id") != server.SpanContext.TraceID().String() {
			t.Errorf("%s: X-Trace-Id is not the exported trace's", flags)
		}
		sent := g.lastSent(t)
		ours := "00-" + server.SpanContext.TraceID().String()
		if got := sent.Get("Traceparent"); !strings.HasPrefix(got, ours) || !strings.HasSuffix(got, "-01") {
			t.Errorf("%s: the backend got traceparent %q, want our trace, sampled", flags, got)
		}
		for _, name := range []string{"Tracestate", "Baggage"} {
			if got := sent[name]; got != nil {
				t.Errorf("%s: the backend got %s %q", flags, name, got)
			}
		}
		if got := textOf(server, "client.address"); got != "203.0.113.7" {
			t.Errorf("%s: client.address %q, want the peer's", flags, got)
		}
	}
}

func textOf(span tracetest.SpanStub, key string) string {
	for _, kv := range span.Attributes {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// The sampled flag of a trusted caller decides.
func TestTrustedTraceContext(t *testing.T) {
	for _, row := range []struct {
		ratio    float64
		flags    string
		exported bool
	}{{0, "-01", true}, {0, "-00", false}, {1, "-01", true}, {1, "-00", false}} {
		g := newGateway(t, TracesConfig{SampleRatio: row.ratio}, tracetest.NewInMemoryExporter())
		_, spans := g.serve(t, request(t, trustedPeer, "/a", g.token(t, "k", 100, "/a"),
			"Traceparent", traceparent+row.flags, "Tracestate", "a=1", "Tracestate", "b=2", "Baggage", "user=x"))
		if exported := len(spans) > 0; exported != row.exported {
			t.Errorf("ratio %v, %s: exported %t, want %t", row.ratio, row.flags, exported, row.exported)
		}
		sent := g.lastSent(t)
		if got := sent.Get("Traceparent"); !strings.HasPrefix(got, "00-"+callersTrace) || !strings.HasSuffix(got, row.flags) {
			t.Errorf("ratio %v, %s: the backend got traceparent %q, want the caller's trace and flag", row.ratio, row.flags, got)
		}
		if got := strings.Join(sent["Tracestate"], ";"); got != "a=1,b=2" {
			t.Errorf("ratio %v, %s: the backend got tracestate %q, want both lines of the caller's", row.ratio, row.flags, got)
		}
		if got := sent.Get("Baggage"); got != "user=x" {
			t.Errorf("the backend got baggage %q, want the caller's", got)
		}
		if !row.exported {
			continue
		}
		server := serverSpan(t, spans)
		if server.Parent.SpanID().String() != callersSpan || !server.Parent.IsRemote() || len(server.Links) != 0 {
			t.Errorf("parent %s, %d links; want the caller's span and none", server.Parent.SpanID(), len(server.Links))
		}
	}
}

// A refused request of a trusted caller is kept even if the caller did not
// sample it.
func TestRefusalsOfUnsampledCallersAreKept(t *testing.T) {
	g := newGateway(t, TracesConfig{SampleRatio: 0, KeepPerSecond: 10}, tracetest.NewInMemoryExporter())
	for _, peer := range []string{trustedPeer, untrustedPeer} {
		answer, spans := g.serve(t, request(t, peer, "/a", "", "Traceparent", traceparent+"-00"))
		if answer.Code != http.StatusUnauthorized || len(spans) != 2 {
			t.Errorf("%s: %d with %d spans, want 401 with 2", peer, answer.Code, len(spans))
		}
	}
}

// 2,000 forged sampled flags with ratio 0.01 make about 20 traces. The
// probability of fewer than 1 or more than 60 is about 1e-8.
func TestForcedSampling(t *testing.T) {
	g := newGateway(t, TracesConfig{SampleRatio: 0.01, KeepPerSecond: 10}, tracetest.NewInMemoryExporter())
	token := g.token(t, "k", 1_000_000, "/a")
	for range 2000 {
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", token, "Traceparent", traceparent+"-01"))
	}
	g.flush(t)
	traces := map[trace.TraceID]bool{}
	for _, span := range g.spans.GetSpans() {
		traces[span.SpanContext.TraceID()] = true
	}
	if n := len(traces); n < 1 || n > 60 {
		t.Errorf("2000 requests with a forged sampled flag made %d traces, want about 20", n)
	}
}

// A malformed trace context (W3C Trace Context) neither fails the request nor
// joins a trace.
func TestMalformedTraceContext(t *testing.T) {
	const none, joined = "", callersTrace
	long := strings.Repeat("x", 4096)
	for _, row := range []struct {
		name   string
		fields []string
		want   string // the trace that a trusted caller's request belongs to
	}{
		{"empty", []string{"Traceparent", ""}, none},
		{"malformed", []string{"Traceparent", "00-xyz"}, none},
		{"spaces inside", []string{"Traceparent", "00 - " + callersTrace}, none},
		{"zero trace", []string{"Traceparent", "00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01"}, none},
		{"zero span", []string{"Traceparent", "00-" + callersTrace + "-" + strings.Repeat("0", 16) + "-01"}, none},
		{"version ff", []string{"Traceparent", "ff-" + callersTrace + "-" + callersSpan + "-01"}, none},
		{"upper case", []string{"Traceparent", "00-" + strings.ToUpper(callersTrace) + "-" + callersSpan + "-01"}, none},
		{"not hexadecimal", []string{"Traceparent", "00-" + strings.Repeat("g", 32) + "-" + callersSpan + "-01"}, none},
		{"version 00 with more", []string{"Traceparent", traceparent + "-01-more"}, none},
		{"no flags", []string{"Traceparent", traceparent}, none},
		{"4 KiB", []string{"Traceparent", traceparent + "-01" + long}, none},
		{"twice", []string{"Traceparent", traceparent + "-01", "Traceparent", traceparent + "-01"}, none},
		{"twice, different", []string{"Traceparent", traceparent + "-01", "Traceparent", "nonsense"}, none},
		{"future version", []string{"Traceparent", "cc-" + callersTrace + "-" + callersSpan + "-01"}, joined},
		{"future version with more", []string{"Traceparent", "cc-" + callersTrace + "-" + callersSpan + "-01-what-follows"}, joined},
		{"state alone", []string{"Tracestate", "a=1"}, none},
		{"state of 33", []string{"Traceparent", traceparent + "-01", "Tracestate", "a=1" + strings.Repeat(",b=2", 32)}, joined},
		{"state of 4 KiB", []string{"Traceparent", traceparent + "-01", "Tracestate", "a=" + long}, joined},
		{"state with a key twice", []string{"Traceparent", traceparent + "-01", "Tracestate", "a=1,a=2"}, joined},
		{"state of bytes", []string{"Traceparent", traceparent + "-01", "Tracestate", "a=\xff\x80,\xc3=1"}, joined},
		{"baggage of 8 KiB", []string{"Traceparent", traceparent + "-01", "Baggage", "k=" + long + long}, joined},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := newGateway(t, TracesConfig{SampleRatio: 1}, tracetest.NewInMemoryExporter())
			token := g.token(t, "k", 100, "/a")
			for peer, want := range map[string]string{trustedPeer: row.want, untrustedPeer: none} {
				answer, spans := g.serve(t, request(t, peer, "/a", token, row.fields...))
				if answer.Code != http.StatusOK {
					t.Errorf("answered %d, want 200", answer.Code)
				}
				server := serverSpan(t, spans)
				id, parent := server.SpanContext.TraceID().String(), server.Parent
				if !server.SpanContext.IsValid() || (id == callersTrace) != (want == joined) || parent.IsValid() != (want == joined) {
					t.Errorf("%s: trace %s with parent %s, want it joined: %t", peer, id, parent.SpanID(), want == joined)
				}
				if state := g.lastSent(t)["Tracestate"]; state != nil {
					t.Errorf("%s: the backend got tracestate %q", peer, state)
				}
			}
		})
	}
}

// A trusted proxy appends its peer. Earlier addresses are the client's claims.
func TestClientAddress(t *testing.T) {
	for _, row := range []struct{ peer, forwarded, want string }{
		{untrustedPeer, "1.2.3.4", "203.0.113.7"},
		{trustedPeer, "1.2.3.4", "1.2.3.4"},
		{trustedPeer, "6.6.6.6, 1.2.3.4", "1.2.3.4"},
		{trustedPeer, "6.6.6.6, 1.2.3.4,10.9.9.9", "1.2.3.4"},
		{trustedPeer, "10.1.1.1, 10.2.2.2", "10.1.1.1"},
		{trustedPeer, "6.6.6.6, not an address", "10.0.0.1"},
		{trustedPeer, "\xff\xfe", "10.0.0.1"},
		{trustedPeer, "", "10.0.0.1"},
	} {
		g := newGateway(t, TracesConfig{SampleRatio: 1}, tracetest.NewInMemoryExporter())
		_, spans := g.serve(t, request(t, row.peer, "/a", g.token(t, "k", 1, "/a"), "X-Forwarded-For", row.forwarded))
		if got := textOf(serverSpan(t, spans), "client.address"); got != row.want {
			t.Errorf("X-Forwarded-For %q from %s: client.address %q, want %s", row.forwarded, row.peer, got, row.want)
		}
	}
}

// Text of a client that is long or not UTF-8 is exported. Without the
// correction the exporter would fail for the whole batch.
func TestLongAndInvalidText(t *testing.T) {
	g := newGateway(t, TracesConfig{SampleRatio: 1, KeepPerSecond: 10}, tracetest.NewInMemoryExporter())
	_, spans := g.serve(t, request(t, untrustedPeer, "/a%ff/b", "", "User-Agent", "agent \xfe"+strings.Repeat("x", 5000)))
	server := serverSpan(t, spans)
	if got := textOf(server, "url.path"); got != "/a\uFFFD/b" {
		t.Errorf("url.path %q", got)
	}
	if got := textOf(server, "user_agent.original"); !strings.HasPrefix(got, "agent \uFFFDx") || len([]rune(got)) != maxAttributeLength {
		t.Errorf("user_agent.original has %d characters and begins %.10q, want %d", len([]rune(got)), got, maxAttributeLength)
	}
}
