package e2e_test

import (
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// The program reports all faults at once: first all of the structure, then all
// of the values.
func TestAllFaultsAreReported(t *testing.T) {
	for file, keys := range map[string][]string{
		`{"redis":{"adr":"localhost:6379"},"log":{"level":3},"application":{"token":{"jwt_secrt":"much too short"}}}`: {
			"redis.adr", "log.level", "application.token.jwt_secrt", "TYK_PROX_MONITORING__PORT",
		},
		`{"application":{"port":70000,"token":{"jwt_secret":"much too short","algorithm":"HS257"}},
			"rate_limit":{"window":"0s"},"log":{"level":"Loud"}}`: {
			"application.port", "application.token.algorithm", "application.token.jwt_secret", "rate_limit.window", "log.level",
		},
	} {
		var env []string
		if len(keys) == 4 {
			env = []string{"TYK_PROX_MONITORING__PORT=http"}
		}
		end := runOnce(t, env, "-config", writeText(t, "config.json", file), "-env")
		if end.code != 1 || end.stdout != "" {
			t.Errorf("exit code %d, stdout %q; want 1 and nothing", end.code, end.stdout)
		}
		for _, key := range keys {
			if !strings.Contains(end.stderr, key) {
				t.Errorf("stderr does not name %s:\n%s", key, end.stderr)
			}
		}
		if strings.Contains(end.stderr, "much too short") {
			t.Error("stderr shows the secret")
		}
	}
}

func TestEnvironmentNeedsFlag(t *testing.T) {
	cfg := testConfig("127.0.0.1:1", "http://127.0.0.1:1")
	env := []string{"TYK_PROX_APPLICATION__PORT=70000"}
	if end := runOnce(t, env, "-config", writeConfig(t, cfg), "-env"); end.code != 1 {
		t.Errorf("with -env: exit code %d, want 1", end.code)
	}
	startWith(t, cfg, env)
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for key, set := range map[string]func(*config.Config){
		"application.port": func(c *config.Config) { c.Application.Port = port },
		"monitoring.port":  func(c *config.Config) { c.Monitoring.Port = port },
	} {
		cfg := testConfig("127.0.0.1:1", "http://127.0.0.1:1")
		set(&cfg)
		end := runOnce(t, nil, "-config", writeConfig(t, cfg))
		want := key + ": port " + strconv.Itoa(port) + " is already in use"
		if end.code != 1 || !strings.Contains(end.stderr, want) {
			t.Errorf("exit code %d, stderr %q; want 1 and %q", end.code, end.stderr, want)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	redis := storetest.StartRedis(t)
	cfg := testConfig(redis.Addr, "http://127.0.0.1:1")
	p := start(t, cfg)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.base, "http://"))
	check := func() ending {
		return runOnce(t, []string{"TYK_PROX_APPLICATION__PORT=" + port}, "-config", writeConfig(t, cfg), "-env", "-healthcheck")
	}
	if end := check(); end.code != 0 || end.stderr != "" {
		t.Errorf("ready: %+v, want exit code 0 and no output", end)
	}
	redis.Stop()
	if end := check(); end.code != 1 || !strings.Contains(end.stderr, "store_unavailable") {
		t.Errorf("without Redis: %+v, want exit code 1 and the reason", end)
	}
	p.signal(os.Interrupt)
	p.wantExit(0, stopWithin)
	if end := check(); end.code != 1 || !strings.Contains(end.stderr, port) {
		t.Errorf("without a gateway: %+v, want exit code 1 and the address", end)
	}
}

func TestProbesAndMetrics(t *testing.T) {
	redis := storetest.StartRedis(t)
	p := start(t, testConfig(redis.Addr, "http://127.0.0.1:1"))
	for _, path := range []string{"/health", "/ready"} {
		if got := p.get(path, ""); got.status != http.StatusOK || got.body != "Ok" {
			t.Errorf("%s: %d %q, want 200 Ok", path, got.status, got.body)
		}
		got := p.ask(http.MethodPost, path, "")
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d, Allow %q", path, got.status, got.header.Get("Allow"))
		}
	}
	// Only the exact paths are probes. The pipeline decides about all others.
	for _, path := range []string{"/health/", "//health", "/ready/x", "/metrics"} {
		p.get(path, "").want(t, http.StatusUnauthorized, "credentials_missing")
	}
	metrics := askURL(t, http.MethodGet, p.metrics+"/metrics", "")
	for _, name := range []string{
		"gateway_stage_duration_seconds_bucket{", `gateway_decisions_total{gateway_reason="credentials_missing"`,
		"http_server_request_duration_seconds_bucket{", "go_goroutines ",
	} {
		if !strings.Contains(metrics.body, name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	if got := askURL(t, http.MethodGet, p.metrics+"/", ""); got.status != http.StatusNotFound {
		t.Errorf("/ of the metrics listener: %d, want 404", got.status)
	}
	if !slices.Contains(p.logged("msg"), "serving") {
		t.Error("the log does not say that the gateway serves")
	}
}

// A gateway that starts before Redis becomes ready without a restart.
func TestStartsWithoutRedis(t *testing.T) {
	redis := storetest.StartRedis(t)
	redis.Stop()
	p := start(t, testConfig(redis.Addr, "http://127.0.0.1:1"))
	p.get("/health", "").want(t, http.StatusOK, "")
	p.get("/ready", "").want(t, http.StatusServiceUnavailable, "store_unavailable")
	redis.Restart()
	eventually(t, 5*time.Second, "the gateway becomes ready", func() bool {
		return p.get("/ready", "").status == http.StatusOK
	})
}
