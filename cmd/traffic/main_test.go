package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/sirupsen/logrus"

	"tyk_proxy/app"
	"tyk_proxy/middleware"
)

// startGateway runs a gateway in this process, whose backend waits as it is told.
func startGateway(t *testing.T, redis string) string {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(backend.Close)
	cfg := app.DefaultConfig()
	cfg.Application.TargetHost, cfg.Application.Port = backend.URL, 0
	cfg.Monitoring.IP, cfg.Monitoring.Port = "127.0.0.1", 0
	cfg.Redis.Addr, cfg.Redis.Timeout, cfg.Redis.PoolTimeout = redis, app.Duration(5*time.Second), app.Duration(5*time.Second)
	cfg.Upstream.ResponseTimeout = app.Duration(3 * time.Second)
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	gateway, err := app.NewGateway(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := gateway.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- gateway.Run(ctx, listeners, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	_, port, _ := strings.Cut(listeners.Public.Addr().String(), "]:")
	return "http://127.0.0.1:" + port
}

func flags(gateway, redis string, more ...string) []string {
	return append([]string{"-gateway", gateway, "-redis", redis, "-secret", app.DemoSecret}, more...)
}

// Every kind meets what it expects, and every reason that it can bring about.
func TestTraffic(t *testing.T) {
	redis := miniredis.RunT(t).Addr()
	var stdout, stderr strings.Builder
	args := flags(startGateway(t, redis), redis, "-json", "-duration", "3s", "-rate", "150")
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stderr.String(), stdout.String())
	}
	var results []result
	if err := json.Unmarshal([]byte(stdout.String()), &results); err != nil {
		t.Fatal(err)
	}
	sent := 0
	var met []string
	for _, r := range results {
		sent += r.Sent
		if r.Sent == 0 || r.TraceID == "" {
			t.Errorf("%s: %d sent, trace id %q", r.Kind, r.Sent, r.TraceID)
		}
		for reason := range r.Reasons {
			met = append(met, reason)
		}
	}
	if sent != 450 {
		t.Errorf("%d requests, want 3 s of 150 a second", sent)
	}
	for _, want := range []middleware.Reason{
		middleware.Forwarded, middleware.RateLimited, middleware.UpstreamTimeout, middleware.RecordInvalid,
	} {
		if !slices.Contains(met, want.String()) {
			t.Errorf("no answer with reason %s", want)
		}
	}
}

// An answer that is not as expected is told, and makes the exit code 1.
func TestUnexpectedAnswers(t *testing.T) {
	redis := miniredis.RunT(t).Addr()
	always200 := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(always200.Close)
	var stdout, stderr strings.Builder
	code := run(t.Context(), flags(always200.URL, redis, "-duration", "1s", "-rate", "100"), &stdout, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "not as expected") || !strings.Contains(stdout.String(), "NOT AS EXPECTED") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

func TestBadCommandLines(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no secret":      {nil, 2, "-secret is missing"},
		"rate":           {flags("http://a", "b:1", "-rate", "0"), 2, "-rate is 0"},
		"duration":       {flags("http://a", "b:1", "-duration", "2h"), 2, "-duration is 2h"},
		"gateway":        {flags("localhost:8080", "b:1"), 2, "-gateway is not a URL"},
		"argument":       {flags("http://a", "b:1", "x"), 2, `unexpected argument "x"`},
		"no Redis":       {flags("http://127.0.0.1:1", "127.0.0.1:1"), 1, "preparing tokens (-redis 127.0.0.1:1)"},
		"a short secret": {[]string{"-secret", "short", "-redis", "127.0.0.1:1"}, 1, "HS256 needs at least 32"},
	} {
		var stdout, stderr strings.Builder
		if code := run(t.Context(), row.args, &stdout, &stderr); code != row.code || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: exit code %d, %q; want %d, %q", name, code, stderr.String(), row.code, row.want)
		}
		if strings.Contains(stderr.String(), app.DemoSecret) {
			t.Errorf("%s: the secret is told", name)
		}
	}
}
