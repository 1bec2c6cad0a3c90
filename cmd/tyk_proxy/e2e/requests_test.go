package e2e_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// echo is a backend that answers with the request's path.
func echo(tb testing.TB) string {
	tb.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "backend saw ", r.URL.Path)
	}))
	tb.Cleanup(backend.Close)
	return backend.URL
}

// A token is minted, used up to its limit, revoked and unknown.
func TestTokenLifetime(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	p := start(t, cfg)
	token := mintToken(t, cfg, 10)

	for n := 1; n <= 10; n++ {
		got := p.get("/api/v1/test", token.JWT)
		if got.status != http.StatusOK || got.body != "backend saw /api/v1/test" {
			t.Fatalf("request %d: %d %q, want 200 from the backend", n, got.status, got.body)
		}
		if left := got.header.Get("X-Ratelimit-Remaining"); left != strconv.Itoa(10-n) {
			t.Errorf("request %d: %s remaining, want %d", n, left, 10-n)
		}
	}
	before := time.Now()
	refused := p.get("/api/v1/test", token.JWT)
	refused.want(t, http.StatusTooManyRequests, "rate_limited")
	checkRetryAfter(t, refused, before, time.Now())

	p.get("/api/v1/test3", token.JWT).want(t, http.StatusForbidden, "route_not_allowed")
	p.get("/api/v1//test", token.JWT).want(t, http.StatusBadRequest, "path_ambiguous")
	if err := redisClient(t, cfg).Del(context.Background(), token.StorageKey).Err(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(250 * time.Millisecond) // within which a change takes effect
	revoked := p.get("/api/v1/test", token.JWT)
	revoked.want(t, http.StatusUnauthorized, "token_unknown")
	if challenge := revoked.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer ") {
		t.Errorf("WWW-Authenticate %q, want a Bearer challenge", challenge)
	}

	log := p.stderr.String()
	for name, secret := range map[string]string{
		"JWT": token.JWT, "api key": token.APIKey, "signing secret": string(cfg.Application.Token.JWTSecret),
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log contains the %s", name)
		}
	}
	// The log line follows the answer.
	eventually(t, time.Second, "the log has the reasons", func() bool {
		return strings.HasSuffix(strings.Join(p.logged("gateway.reason"), " "),
			"forwarded rate_limited route_not_allowed path_ambiguous token_unknown")
	})
}

// checkRetryAfter compares the three headers of a 429 with each other and with
// the clock.
func checkRetryAfter(t *testing.T, refused answer, before, after time.Time) {
	t.Helper()
	wait, err := strconv.Atoi(refused.header.Get("Retry-After"))
	if err != nil {
		t.Fatal(err)
	}
	reset, err := strconv.ParseInt(refused.header.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	least := math.Ceil(time.Unix(reset, 0).Sub(after).Seconds())
	most := math.Ceil(time.Unix(reset, 0).Sub(before).Seconds())
	if float64(wait) < least || float64(wait) > most {
		t.Errorf("Retry-After %d, but X-RateLimit-Reset is %.0f to %.0f seconds ahead", wait, least, most)
	}
	if limit, want := refused.header.Get("Ratelimit"), fmt.Sprintf(`"default";r=0;t=%d`, wait); limit != want {
		t.Errorf("RateLimit %s, want %s", limit, want)
	}
	if reset%86400 != 0 {
		t.Errorf("X-RateLimit-Reset %d is not the end of a window", reset)
	}
}

// A client that waits for Retry-After is served again.
func TestRetryAfterSuffices(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	cfg.RateLimit.Window = config.Duration(2 * time.Second)
	p := start(t, cfg)
	token := mintToken(t, cfg, 1)
	var refused answer
	eventually(t, 5*time.Second, "the limit is reached", func() bool {
		refused = p.get("/api/v1/test", token.JWT)
		return refused.status == http.StatusTooManyRequests
	})
	wait, err := strconv.Atoi(refused.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 2 {
		t.Fatalf("Retry-After %d, %v; want 1 or 2", wait, err)
	}
	time.Sleep(time.Duration(wait) * time.Second)
	p.get("/api/v1/test", token.JWT).want(t, http.StatusOK, "")
}

func TestChangedJWT(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	p := start(t, cfg)
	token := mintToken(t, cfg, 100)
	parts := strings.Split(token.JWT, ".")
	for i, name := range []string{"header", "claims", "signature"} {
		// All characters but the last encode six bits each. The last may
		// encode fewer, and a token with other bits set is malformed.
		for _, at := range []int{0, len(parts[i]) / 2, len(parts[i]) - 1} {
			changed := []byte(parts[i])
			changed[at] = map[bool]byte{true: 'B', false: 'A'}[changed[at] == 'A']
			forged := append([]string{}, parts...)
			forged[i] = string(changed)
			if got := p.get("/api/v1/test", strings.Join(forged, ".")); got.status != http.StatusUnauthorized {
				t.Errorf("byte %d of the %s changed: %d, want 401", at, name, got.status)
			}
		}
	}
	p.get("/api/v1/test", token.JWT).want(t, http.StatusOK, "")
}

// An outage of Redis is a 503, never a 401, and ends without a restart.
func TestRedisOutage(t *testing.T) {
	redis := storetest.StartRedis(t)
	cfg := testConfig(redis.Addr, echo(t))
	p := start(t, cfg)
	p.get("/api/v1/test", mintToken(t, cfg, 1000).JWT).want(t, http.StatusOK, "")
	token := mintToken(t, cfg, 1000)

	redis.Stop()
	for range 5 {
		for _, path := range []string{"/ready", "/api/v1/test"} {
			got := p.get(path, token.JWT)
			got.want(t, http.StatusServiceUnavailable, "store_unavailable")
			if got.header.Get("Retry-After") != "1" || got.took > 2*time.Second {
				t.Errorf("%s: Retry-After %q after %s", path, got.header.Get("Retry-After"), got.took)
			}
		}
	}
	p.get("/health", "").want(t, http.StatusOK, "")

	redis.Restart() // empty: what it held is gone with the process
	token = mintToken(t, cfg, 1000)
	eventually(t, 5*time.Second, "the gateway recovers", func() bool {
		return p.get("/ready", "").status == http.StatusOK && p.get("/api/v1/test", token.JWT).status == http.StatusOK
	})
}

// If Redis accepts connections and never answers, every wait must end by the
// gateway's timeouts.
func TestRedisDoesNotAnswer(t *testing.T) {
	redis := storetest.StartRedis(t)
	cfg := testConfig(redis.Addr, echo(t))
	p := start(t, cfg)
	token := mintToken(t, cfg, 1000)
	p.get("/api/v1/test", token.JWT).want(t, http.StatusOK, "")

	redis.Pause()
	eventually(t, 5*time.Second, "Redis has stopped answering", func() bool { return p.get("/ready", "").status != http.StatusOK })
	for range 3 {
		for _, path := range []string{"/ready", "/api/v1/test"} {
			got := p.get(path, token.JWT)
			got.want(t, http.StatusServiceUnavailable, "store_unavailable")
			// redis.timeout limits a command and its dial. The rest is
			// tolerance.
			if got.took > 2*time.Second {
				t.Errorf("%s took %s with redis.timeout %s", path, got.took, cfg.Redis.Timeout)
			}
		}
	}
	redis.Resume()
	eventually(t, 5*time.Second, "the same token works again", func() bool {
		return p.get("/ready", "").status == http.StatusOK && p.get("/api/v1/test", token.JWT).status == http.StatusOK
	})
}

func TestUpstreamFaults(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 512<<10))
	}))
	t.Cleanup(long.Close)
	redis := storetest.StartRedis(t)
	for target, want := range map[string]struct {
		status int
		reason string
	}{
		"http://" + gone.Addr().String(): {http.StatusBadGateway, "upstream_unreachable"},
		slow.URL:                         {http.StatusGatewayTimeout, "upstream_timeout"},
		long.URL:                         {http.StatusBadGateway, "upstream_invalid"},
	} {
		cfg := testConfig(redis.Addr, target)
		cfg.Upstream.ResponseTimeout = config.Duration(2 * time.Second)
		p := start(t, cfg)
		p.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, want.status, want.reason)
		p.get("/ready", "").want(t, http.StatusOK, "")
	}
}
