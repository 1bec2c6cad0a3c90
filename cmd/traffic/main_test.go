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
	"tyk_proxy/app/config"
	"tyk_proxy/app/embedded"
	"tyk_proxy/middleware"
)

// startGateway runs a gateway in this process. Its backend waits as the query
// says.
func startGateway(t *testing.T, redis string) string {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(embedded.Whoami))
	t.Cleanup(backend.Close)
	cfg := config.Default()
	cfg.Application.TargetHost, cfg.Application.Port = backend.URL, 0
	cfg.Monitoring.IP, cfg.Monitoring.Port = "127.0.0.1", 0
	cfg.Redis.Addr, cfg.Redis.Timeout = redis, config.Duration(5*time.Second)
	cfg.Upstream.ResponseTimeout = config.Duration(3 * time.Second)
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
	return append([]string{"-gateway", gateway, "-redis", redis, "-secret", config.DemoSecret}, more...)
}

// startServer answers every request, also /ready, with one status.
func startServer(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(server.Close)
	return server.URL
}

// Every kind gets its expected answers, and all of its reasons occur.
func TestTraffic(t *testing.T) {
	t.Parallel()
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

// An unexpected answer is reported and makes the exit code 1.
func TestUnexpectedAnswers(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t).Addr()
	var stdout, stderr strings.Builder
	code := run(t.Context(), flags(startServer(t, http.StatusOK), redis, "-duration", "1s", "-rate", "100"), &stdout, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "not as expected") || !strings.Contains(stdout.String(), "NOT AS EXPECTED") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

func TestInvalidCommandLines(t *testing.T) {
	t.Parallel()
	answers, redis := startServer(t, http.StatusOK), miniredis.RunT(t).Addr()
	gateway, unready := startGateway(t, redis), startServer(t, http.StatusServiceUnavailable)
	other := miniredis.RunT(t).Addr()
	const mend = ": start one with make run or make up"
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no secret": {nil, 2, "-secret is missing"},
		"rate":      {flags("http://a", "b:1", "-rate", "0"), 2, "-rate is 0"},
		"duration":  {flags("http://a", "b:1", "-duration", "2h"), 2, "-duration is 2h"},
		"gateway":   {flags("localhost:8080", "b:1"), 2, "-gateway is not a URL"},
		"argument":  {flags("http://a", "b:1", "x"), 2, `unexpected argument "x"`},
		"no gateway": {
			flags("http://127.0.0.1:1", redis), 1,
			"GET http://127.0.0.1:1/ready: dial tcp 127.0.0.1:1: connect: connection refused" + mend,
		},
		"not ready": {flags(unready, redis), 1, "GET " + unready + "/ready: answered 503 Service Unavailable" + mend},
		"not its secret": {
			flags(gateway, redis, "-secret", strings.Repeat("x", 64)), 1, "signature_invalid: -secret is not this gateway's",
		},
		"not its Redis":  {flags(gateway, other), 1, "token_unknown: -redis " + other + " is not this gateway's Redis"},
		"no Redis":       {flags(answers, "127.0.0.1:1"), 1, "preparing tokens (-redis 127.0.0.1:1)"},
		"a short secret": {flags(answers, "127.0.0.1:1", "-secret", "short"), 1, "HS256 needs at least 32"},
	} {
		var stdout, stderr strings.Builder
		if code := run(t.Context(), row.args, &stdout, &stderr); code != row.code || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: exit code %d, %q; want %d, %q", name, code, stderr.String(), row.code, row.want)
		}
		if row.code == 1 && strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: more than one line: %s", name, stderr.String())
		}
		if strings.Contains(stderr.String(), config.DemoSecret) {
			t.Errorf("%s: the secret is printed", name)
		}
	}
}

// A limit that is not enforced is reported, even if each answer is expected.
func TestLimit(t *testing.T) {
	for name, row := range map[string]struct {
		took, window       time.Duration
		forwarded, limited int
		want               string
	}{
		"kept":                 {30 * time.Second, 0, 40, 60, ""},
		"too few to tell":      {30 * time.Second, 0, 60, 0, ""},
		"never refused":        {30 * time.Second, 0, 61, 0, "61 were forwarded in at most 2 windows of 1m0s"},
		"too many":             {30 * time.Second, 0, 61, 1, "61 were forwarded"},
		"short windows":        {30 * time.Second, 10 * time.Second, 100, 0, ""},
		"short, never refused": {30 * time.Second, 10 * time.Second, 101, 0, "in at most 4 windows of 10s"},
	} {
		r := &result{
			Kind: limitedKind, Sent: row.forwarded + row.limited, Statuses: map[int]int{200: row.forwarded, 429: row.limited},
			Reasons: map[string]int{"forwarded": row.forwarded, "rate_limited": row.limited},
		}
		err := (&tally{results: []*result{r}, took: row.took, window: row.window}).checkLimit()
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
	unanswered := &result{Kind: limitedKind, Sent: 61, Statuses: map[int]int{502: 61}, Reasons: map[string]int{"upstream_error": 61}}
	if err := (&tally{results: []*result{unanswered}}).checkLimit(); err == nil || !strings.Contains(err.Error(), "no 429 to 61 requests") {
		t.Errorf("never a 429: %v", err)
	}
	for policy, want := range map[string]time.Duration{
		`"default";q=20;w=7`: 7 * time.Second, `"default";q=20`: 0, "w=x": 0, "w=0": 0, "": 0,
	} {
		if got := windowOf(http.Header{"Ratelimit-Policy": {policy}}); got != want {
			t.Errorf("%q: %s, want %s", policy, got, want)
		}
	}
}

// Links have the time range of the run, and exist only for running services.
func TestLinks(t *testing.T) {
	t.Parallel()
	redis, ui, none := miniredis.RunT(t).Addr(), startServer(t, http.StatusNotFound), "http://127.0.0.1:1"
	gateway := startGateway(t, redis)
	for place, row := range map[string]struct{ want, wantNot []string }{
		ui + "/": {[]string{
			ui + "/trace/", ui + "/d/tyk-proxy-rate-limit?from=1", "g0.end_input=20",
			"/search?service=a+b&", "&start=1", "&limit=20", "not sent: run longer",
		}, []string{notRunning}},
		none: {[]string{none + " " + notRunning}, []string{"/trace/", "/search", "/query", "/d/"}},
	} {
		var stdout, stderr strings.Builder
		args := flags(gateway, redis, "-duration", "1s", "-rate", "5", "-grafana", place, "-prometheus", place, "-jaeger", place,
			"-service", "a b")
		if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
		for _, want := range row.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("no %q in %s", want, stdout.String())
			}
		}
		for _, not := range row.wantNot {
			if strings.Contains(stdout.String(), not) {
				t.Errorf("%q in %s", not, stdout.String())
			}
		}
	}
}

// Requests that the interrupt aborts are not errors. Other failures are
// reported.
func TestInterruptAndFailures(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t).Addr()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	time.AfterFunc(700*time.Millisecond, interrupt)
	var stdout, stderr strings.Builder
	code := run(ctx, flags(startGateway(t, redis), redis, "-rate", "100", "-json"), &stdout, &stderr)
	if code != 0 || !strings.Contains(stderr.String(), "interrupted after 1 s") || strings.Contains(stdout.String(), `"error"`) {
		t.Errorf("exit code %d, %s%s", code, stderr.String(), stdout.String())
	}

	breaks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(breaks.Close)
	stdout.Reset()
	code = run(t.Context(), flags(breaks.URL, redis, "-duration", "1s", "-rate", "30"), &stdout, &stderr)
	if code != 1 || !strings.Contains(stdout.String(), `unanswered: Get "`+breaks.URL+`/api/v1/test": EOF)`) {
		t.Errorf("exit code %d, %s", code, stdout.String())
	}
	if strings.Contains(stdout.String(), "eyJ") || strings.Contains(stdout.String(), "Bearer") {
		t.Error("a token is printed")
	}
}
