package middleware

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func BenchmarkAuth(b *testing.B) {
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			keys := keysFor(algorithm)
			key, err := ParseKey(algorithm, testSecret, keys.publicPEM)
			if err != nil {
				b.Fatal(err)
			}
			token := compact(`{"alg":"`+algorithm+`","typ":"JWT"}`, claimsAt(epoch, ""), jwt.GetSigningMethod(algorithm), keys.right)
			auth := NewAuth(AuthConfig{Algorithm: algorithm, Key: key, Now: fixed})
			ex := &Exchange{Request: &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}}}
			b.ReportAllocs()
			for b.Loop() {
				if o := auth.Check(b.Context(), ex); o.Reason != Authenticated {
					b.Fatal(o.Reason)
				}
			}
		})
	}
}

func BenchmarkRouteCheck(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		for _, path := range []string{"/api/v1/test", "/api/v1/a%20b"} {
			b.Run(fmt.Sprintf("rules=%d%s", n, path), func(b *testing.B) {
				rules := []string{"/api/*"}
				for i := 1; i < n; i++ {
					rules = append(rules, fmt.Sprintf("GET /api/v%d/test%d/*", i%7, i))
				}
				ex := &Exchange{Request: &http.Request{Method: "GET", URL: mustURL(path)}, Record: &Record{Routes: NewRouteSet(rules)}}
				b.ReportAllocs()
				for b.Loop() {
					if o := (RouteCheck{}).Check(b.Context(), ex); o.Reason != RouteAllowed {
						b.Fatal(o.Reason)
					}
				}
			})
		}
	}
}

func BenchmarkParseRecord(b *testing.B) {
	record := []byte(`{"api_key":"` + testKey + `","rate_limit":10,"expires_at":"2026-01-02T15:04:05Z",` +
		`"allowed_routes":["/api/v1/test","/api/v1/test2","GET /files/*"]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRecord(testKey, record); err != nil {
			b.Fatal(err)
		}
	}
}

// silent is an Observer and a ResponseWriter that do nothing.
type silent struct{ header http.Header }

func (silent) StageStarted(ctx context.Context, _ *Exchange, _ string) context.Context { return ctx }
func (silent) StageEnded(context.Context, *Exchange, Step)                             {}
func (silent) RequestEnded(context.Context, *Exchange, Result)                         {}
func (s silent) Header() http.Header                                                   { return s.header }
func (silent) Write(p []byte) (int, error)                                             { return len(p), nil }
func (silent) WriteHeader(int)                                                         {}

// BenchmarkPipeline measures all stages on fakes: the cost of a request without
// Redis, telemetry and the network.
func BenchmarkPipeline(b *testing.B) {
	record := &Record{RateLimit: 10, ExpiresAt: epoch.Add(time.Hour), Routes: NewRouteSet([]string{"/api/v1/test", "/api/v1/test2"})}
	for name, count := range map[string]int64{"allowed": 1, "limited": 11} {
		b.Run(name, func(b *testing.B) {
			pipeline := NewPipeline(PipelineConfig{
				Stages: []Stage{
					testAuth(),
					NewTokenLookup(lookupFunc(func(context.Context, string) (*Record, error) { return record, nil }), fixed),
					RouteCheck{},
					NewRateLimit(RateLimitConfig{Counter: countUsed(count)}),
				},
				Forwarder: forwardFunc(func(_ context.Context, w http.ResponseWriter, _ *Exchange) Outcome {
					w.WriteHeader(http.StatusOK)
					return Outcome{Reason: Forwarded}
				}),
				Observer: silent{},
			})
			r := httptest.NewRequestWithContext(b.Context(), "GET", "/api/v1/test", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+hs256(claimsAt(epoch, "")))
			w := silent{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				pipeline.ServeHTTP(w, r)
			}
		})
	}
}
