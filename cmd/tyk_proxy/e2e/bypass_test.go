package e2e_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tyk_proxy/middleware/storetest"
)

// A Redis without free memory can read but not count. The configuration
// decides whether requests pass. The answer, the metrics and the log show it,
// and it ends when memory is free.
func TestLimiterOutOfMemory(t *testing.T) {
	t.Parallel()
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	cfg.Telemetry.Traces.Endpoint = startDeadCollector(t)
	cfg.Telemetry.Traces.SampleRatio, cfg.Telemetry.Traces.SlowThreshold = 0, 0
	refusing := start(t, cfg)
	cfg.RateLimit.OnError = "allow"
	letting := start(t, cfg)
	token, none := mintToken(t, cfg, 10).JWT, mintToken(t, cfg, 0).JWT
	redis := redisClient(t, cfg)
	memory := func(bytes string) {
		t.Helper()
		if err := redis.ConfigSet(context.Background(), "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}

	memory("1")
	refusing.get("/api/v1/test", token).want(t, http.StatusServiceUnavailable, "limiter_unavailable")
	passed := letting.get("/api/v1/test", token)
	passed.want(t, http.StatusOK, "")
	for name := range passed.header {
		if strings.Contains(name, "Ratelimit") {
			t.Errorf("an uncounted answer has the header %s", name)
		}
	}
	letting.get("/api/v1/test", none).want(t, http.StatusServiceUnavailable, "limiter_unavailable")
	memory("0")
	refusing.get("/api/v1/test", token).want(t, http.StatusOK, "")
	counted := letting.get("/api/v1/test", token)
	if left := counted.header.Get("X-Ratelimit-Remaining"); counted.status != http.StatusOK || left != "8" {
		t.Errorf("with memory again: %d, %s remaining, want 8", counted.status, left)
	}

	if kept := awaitFates(t, letting, 3)["kept"]; kept != 2 {
		t.Errorf("%d traces kept at ratio 0, want the bypassed and the refused one", kept)
	}
	const series = `gateway_decisions_total{gateway_reason="limiter_bypassed",gateway_stage="rate_limit",gateway_verdict="bypass"} 1.0`
	if !strings.Contains(letting.scrape(), series) {
		t.Errorf("no sample %s", series)
	}
	if !slices.Contains(letting.logged("gateway.reason"), "limiter_bypassed") || !strings.Contains(letting.stderr.String(), "OOM") {
		t.Errorf("the log does not have the bypass and its cause:\n%s", letting.stderr.String())
	}
}
