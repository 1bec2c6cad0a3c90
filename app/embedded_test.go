package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/app/config"
	"tyk_proxy/app/mint"
	"tyk_proxy/middleware/redisstore"
)

// embeddedConfig is a configuration with -embedded on free ports. Its backend
// is the embedded one.
func embeddedConfig(t *testing.T) config.Config {
	t.Helper()
	clearEnv(t)
	addr, _ := freePort(t)
	return testConfig(addr, config.Default().Application.TargetHost)
}

var curlLine = regexp.MustCompile(`(?m)^  curl -i -H 'Authorization: Bearer ([^']+)' '([^']+)'$`)

// curl returns the token and the URL of the printed example.
func curl(t *testing.T, r *running) (jwt, url string) {
	t.Helper()
	found := curlLine.FindStringSubmatch(r.stdout.String())
	if found == nil {
		t.Fatal("no curl line was printed")
	}
	// The gateway listens on all interfaces, but localhost can be an IPv6
	// address.
	return found[1], strings.Replace(found[2], "localhost", "127.0.0.1", 1)
}

// The printed command works.
func TestEmbedded(t *testing.T) {
	cfg := embeddedConfig(t)
	cfg.RateLimit.Window = config.Duration(time.Hour)
	t.Setenv("TYK_PROX_RATE_LIMIT__WINDOW", "7200s")
	r := startRun(t, cfg, Options{Embedded: true, UseEnv: true})
	for _, part := range []string{
		"gateway   http://localhost:" + r.gateway[strings.LastIndex(r.gateway, ":")+1:] + " ",
		"metrics   http://localhost:" + r.metrics[strings.LastIndex(r.metrics, ":")+1:] + "/metrics\n",
		"redis     " + cfg.Redis.Addr + " ", "(built in)", "10 requests in 7200s", "Ctrl-C",
	} {
		if !strings.Contains(r.stdout.String(), part) {
			t.Errorf("the introduction lacks %q", part)
		}
	}
	r.want(r.gateway+"/ready", "", http.StatusOK, "")
	r.want(r.metrics+"/metrics", "", http.StatusOK, "")

	jwt, url := curl(t, r)
	first := r.get(url, jwt)
	for _, part := range []string{
		"Hostname: ", "IP: ", "RemoteAddr: 127.0.0.1:", "GET /api/v1/test HTTP/1.1\r\n", "X-Forwarded-For: 127.0.0.1\r\n",
	} {
		if first.status != http.StatusOK || !strings.Contains(first.body, part) {
			t.Errorf("%d, and the body lacks %q", first.status, part)
		}
	}
	if policy := first.header.Get("Ratelimit-Policy"); policy != `"default";q=10;w=7200` {
		t.Errorf("RateLimit-Policy %s, want the window of the variable", policy)
	}
	for range 9 {
		r.want(url, jwt, http.StatusOK, "")
	}
	r.want(url, jwt, http.StatusTooManyRequests, "rate_limited")

	r.stop()
	for name, addr := range map[string]string{
		"gateway": strings.TrimPrefix(r.gateway, "http://"), "metrics": strings.TrimPrefix(r.metrics, "http://"), "redis": cfg.Redis.Addr,
	} {
		if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after the end, dialling the %s: %v, want it refused", name, err)
		}
	}
}

// token-gen can use the embedded Redis, and records expire.
func TestEmbeddedAcceptsMoreTokens(t *testing.T) {
	cfg := embeddedConfig(t)
	r := startRun(t, cfg, Options{Embedded: true})
	client := redis.NewClient(&redis.Options{Addr: cfg.Redis.Addr})
	defer client.Close()
	request := mint.Request{
		Prefix: redisstore.RecordPrefix, Secret: config.DemoSecret, Limit: 100, Routes: []string{"/mine/*"},
		TTL: time.Hour, Now: time.Now(),
	}
	lasting, err := mint.New(t.Context(), client, request)
	if err != nil {
		t.Fatal(err)
	}
	request.TTL, request.Now = 2*time.Second, time.Now()
	short, err := mint.New(t.Context(), client, request)
	if err != nil {
		t.Fatal(err)
	}
	r.want(r.gateway+"/mine/x", lasting.JWT, http.StatusOK, "")
	r.want(r.gateway+"/mine/x", short.JWT, http.StatusOK, "")
	// Within the leeway the short JWT is still valid, but its record has expired.
	deadline := time.Now().Add(4 * time.Second)
	for r.get(r.gateway+"/mine/x", short.JWT).reason != "token_expired" {
		if time.Now().After(deadline) {
			t.Fatal("a token that has expired is not reported as expired")
		}
		time.Sleep(100 * time.Millisecond)
	}
	// Without a record it is still one that has expired.
	if err := client.PExpire(t.Context(), short.StorageKey, 100*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	deadline = time.Now().Add(4 * time.Second)
	for client.Exists(t.Context(), short.StorageKey).Val() != 0 {
		if time.Now().After(deadline) {
			t.Fatal("a record outlives its TTL")
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // until the gateway has been told
	r.want(r.gateway+"/mine/x", short.JWT, http.StatusUnauthorized, "token_expired")
	r.want(r.gateway+"/mine/x", lasting.JWT, http.StatusOK, "")
}

func TestEmbeddedPortsInUse(t *testing.T) {
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for want, set := range map[string]func(*config.Config){
		fmt.Sprintf("redis.addr: 127.0.0.1:%d is already in use", port): func(c *config.Config) {
			c.Redis.Addr = "127.0.0.1:" + strconv.Itoa(port)
		},
		fmt.Sprintf("application.port: port %d is already in use", port): func(c *config.Config) { c.Application.Port = port },
		fmt.Sprintf("monitoring.port: port %d is already in use", port):  func(c *config.Config) { c.Monitoring.Port = port },
	} {
		cfg := embeddedConfig(t)
		set(&cfg)
		err := serveEmbedded(t.Context(), cfg, discardLogger(), io.Discard, nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Only the values that need other containers are replaced.
func TestEmbeddedKeepsTheConfiguration(t *testing.T) {
	t.Run("own backend", func(t *testing.T) {
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "mine") }))
		defer backend.Close()
		cfg := embeddedConfig(t)
		cfg.Application.TargetHost = backend.URL
		r := startRun(t, cfg, Options{Embedded: true})
		defer r.stop()
		jwt, url := curl(t, r)
		if got := r.get(url, jwt); got.body != "mine" {
			t.Errorf("%d %q, want the configured backend's answer", got.status, got.body)
		}
	})
	t.Run("redis password", func(t *testing.T) {
		cfg := embeddedConfig(t)
		cfg.Redis.Username, cfg.Redis.Password, cfg.Redis.DB = "gateway", "let me in", 3
		r := startRun(t, cfg, Options{Embedded: true})
		jwt, url := curl(t, r)
		r.want(url, jwt, http.StatusOK, "")
		stranger := redis.NewClient(&redis.Options{Addr: cfg.Redis.Addr})
		defer stranger.Close()
		if err := stranger.Ping(context.Background()).Err(); err == nil {
			t.Error("the embedded Redis answers without the configured password")
		}
	})
}
