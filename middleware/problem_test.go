package middleware

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRefusalHeaders pins the header fields that tell a client what to do.
func TestRefusalHeaders(t *testing.T) {
	challenge := func(code, description string) http.Header {
		return http.Header{"Www-Authenticate": {`Bearer realm="tyk_proxy", error="` + code + `", error_description="` + description + `"`}}
	}
	limits := http.Header{
		"Ratelimit-Policy":      {`"default";q=10;w=60`},
		"Ratelimit":             {`"default";r=3;t=2`},
		"X-Ratelimit-Limit":     {"10"},
		"X-Ratelimit-Remaining": {"3"},
		"X-Ratelimit-Reset":     {"1767366245"},
	}
	with := func(h http.Header, name, value string) http.Header {
		h = h.Clone()
		h[name] = []string{value}
		return h
	}
	for _, row := range []struct {
		stage  string
		reason Reason
		want   http.Header
	}{
		// RFC 6750 §3.1: no error code where the client did not authenticate.
		{StageAuth, CredentialsMissing, http.Header{"Www-Authenticate": {`Bearer realm="tyk_proxy"`}}},
		{StageAuth, CredentialsAmbiguous, challenge("invalid_request", "The request carries more than one Authorization header.")},
		{StageAuth, SignatureInvalid, challenge("invalid_token", "The token's signature does not verify.")},
		{StageTokenLookup, TokenUnknown, challenge("invalid_token", "The token is not known to this gateway, or was revoked.")},
		{StageTokenLookup, RecordInvalid, http.Header{}},
		{StageTokenLookup, StoreUnavailable, http.Header{"Retry-After": {"1"}}},
		{StageRouteCheck, PathAmbiguous, http.Header{}},
		{StageRouteCheck, MethodNotAllowed, http.Header{"Allow": {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}}},
		{StageRouteCheck, RouteNotAllowed, http.Header{}},
		{StageRateLimit, RateLimited, with(limits, "Retry-After", "2")},
		{StageRateLimit, LimiterUnavailable, with(limits, "Retry-After", "1")},
		{StageProxy, UpstreamUnreachable, limits},
		{StageProxy, UpstreamTimeout, limits},
	} {
		t.Run(row.reason.String(), func(t *testing.T) {
			w, _ := serve(t, map[string]func() Outcome{row.stage: func() Outcome { return Outcome{Reason: row.reason} }})
			got := w.Header().Clone()
			for _, common := range []string{"Content-Type", "Content-Length", "Cache-Control"} {
				got.Del(common)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRateLimitHeaders(t *testing.T) {
	for _, row := range []struct {
		name  string
		quota Quota
		want  []string // policy, limit, X-Limit, X-Remaining, X-Reset
	}{
		{"usual", Quota{10, 1, time.Minute, 41200 * time.Millisecond, time.Unix(1767366300, 0), SourceRedis},
			[]string{`"default";q=10;w=60`, `"default";r=9;t=42`, "10", "9", "1767366300"}},
		{"whole seconds", Quota{10, 11, time.Hour, 41 * time.Second, time.Unix(1, 999), SourceRedis},
			[]string{`"default";q=10;w=3600`, `"default";r=0;t=41`, "10", "0", "1"}},
		{"nothing left of the window", Quota{0, 1, time.Second, 0, time.Unix(0, 0), SourceRedis},
			[]string{`"default";q=0;w=1`, `"default";r=0;t=1`, "0", "0", "0"}},
		{"a clock behind", Quota{1, 0, time.Second, -time.Second, time.Unix(5, 0), SourceRedis},
			[]string{`"default";q=1;w=1`, `"default";r=1;t=1`, "1", "1", "5"}},
		{"not consulted", Quota{}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := http.Header{}
			if row.want != nil { // what an upstream sent is replaced
				h = http.Header{"Ratelimit": {"1", "2"}, "Ratelimit-Policy": {"x"}, "X-Ratelimit-Limit": {"x"}}
			}
			writeRateLimitHeaders(h, row.quota)
			want := http.Header{}
			for i, name := range []string{
				"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
			} {
				if row.want != nil {
					want.Set(name, row.want[i])
				}
			}
			if diff := cmp.Diff(want, h); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHEADRefusalHasNoBody asks over the wire, where a body would be read as the
// next response.
func TestHEADRefusalHasNoBody(t *testing.T) {
	stages, forwarder := scripted(map[string]func() Outcome{StageRouteCheck: func() Outcome { return Outcome{Reason: RouteNotAllowed} }})
	journal := newJournal()
	server := httptest.NewServer(NewPipeline(PipelineConfig{Stages: stages, Forwarder: forwarder, Observer: journal}))
	defer server.Close()
	raw := exchange(t, server.Listener.Addr().String(), "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if head, body, ok := strings.Cut(raw, "\r\n\r\n"); !ok || body != "" || !strings.HasPrefix(head, "HTTP/1.1 403 ") {
		t.Errorf("got %q", raw)
	}
	if d := journal.wait(t); d.Bytes != 0 || d.Status != http.StatusForbidden {
		t.Errorf("%d bytes were reported with status %d", d.Bytes, d.Status)
	}
}

// TestForwarderNeedsNoPipeline: Forward takes any ResponseWriter.
func TestForwarderNeedsNoPipeline(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer upstream.Close()
	proxy := NewProxy(ProxyConfig{Upstream: mustURL(upstream.URL), Transport: http.DefaultTransport})
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/x", http.NoBody)
	ex := &Exchange{Request: r, Path: Path{"/x", "/x"}}
	checkReason(t, proxy.Forward(t.Context(), w, ex), Forwarded)
	if w.Body.String() != "hello" || ex.Upstream.Status != http.StatusOK {
		t.Errorf("got %q, upstream status %d", w.Body, ex.Upstream.Status)
	}
}

func TestNewPipelineRefusesHalfAConfig(t *testing.T) {
	_, forwarder := scripted(nil)
	for name, cfg := range map[string]PipelineConfig{
		"no forwarder": {Observer: newJournal()},
		"no observer":  {Forwarder: forwarder},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			NewPipeline(cfg)
		}()
	}
}

// TestPipelineDefaults: without a clock and a source of trace ids it uses the
// real clock and names no trace.
func TestPipelineDefaults(t *testing.T) {
	journal := newJournal()
	slow := forwardFunc(func(context.Context, http.ResponseWriter, *Exchange) Outcome {
		time.Sleep(2 * time.Millisecond)
		return Outcome{Reason: UpstreamTimeout}
	})
	w := httptest.NewRecorder()
	NewPipeline(PipelineConfig{Forwarder: slow, Observer: journal}).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", http.NoBody))
	if d := journal.wait(t); d.Elapsed < 2*time.Millisecond || d.Elapsed > time.Minute {
		t.Errorf("elapsed %s", d.Elapsed)
	}
	if strings.Contains(w.Body.String(), "trace_id") {
		t.Errorf("a trace is named: %s", w.Body)
	}
}
