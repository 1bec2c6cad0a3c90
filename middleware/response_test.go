package middleware

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRefusalHeaders checks the header fields of refusals.
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
		// RFC 6750 §3.1: no error code if the request has no credentials.
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

// TestHEADRefusalHasNoBody uses a real connection, on which a client would read a
// body as the next response.
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
		t.Errorf("the result has %d bytes and status %d", d.Bytes, d.Status)
	}
}

// hijackable is a writer that returns its connection from Hijack, if it has one.
type hijackable struct {
	*httptest.ResponseRecorder

	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.conn == nil {
		return nil, nil, http.ErrNotSupported
	}
	return h.conn, nil, nil
}

// TestFinalStatus checks that the result has the final status or, after Hijack,
// 101, and not the status of an interim response.
func TestFinalStatus(t *testing.T) {
	conn, _ := net.Pipe()
	t.Cleanup(func() { _ = conn.Close() })
	handOver := func(w http.ResponseWriter) { _, _, _ = http.NewResponseController(w).Hijack() }
	for name, row := range map[string]struct {
		send func(http.ResponseWriter)
		conn net.Conn
		want int
	}{
		"nothing":        {func(http.ResponseWriter) {}, nil, 0},
		"interim":        {func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, nil, 0},
		"final":          {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, nil, http.StatusNoContent},
		"body alone":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, nil, http.StatusOK},
		"hand-over":      {handOver, conn, http.StatusSwitchingProtocols},
		"vain hand-over": {handOver, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ended := newJournal()
			pipeline := NewPipeline(PipelineConfig{
				Observer: ended,
				Forwarder: forwardFunc(func(_ context.Context, w http.ResponseWriter, _ *Exchange) Outcome {
					row.send(w)
					return Outcome{Reason: Forwarded}
				}),
			})
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			pipeline.ServeHTTP(hijackable{httptest.NewRecorder(), row.conn}, request)
			if got := ended.wait(t).Status; got != row.want {
				t.Errorf("the result has status %d, want %d", got, row.want)
			}
		})
	}
}
