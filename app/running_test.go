package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware"
)

// running is a gateway in the process of the test.
type running struct {
	gateway, metrics string // URLs
	stdout           *bytes.Buffer
	g                *Gateway // nil if Run made the gateway
	client           *http.Client

	tb         testing.TB
	signals    chan os.Signal
	ended      chan error
	goroutines int // before it started
	stopOnce   sync.Once
}

// testConfig is a configuration on free ports without a drain delay.
func testConfig(redis, target string) config.Config {
	cfg := config.Default()
	cfg.Application.TargetHost, cfg.Application.Port = target, 0
	cfg.ServerTimeouts.DrainDelay = 0
	cfg.Redis.Addr = redis
	// A slow machine must not cause timeouts.
	cfg.Redis.Timeout = config.Duration(time.Second)
	cfg.RateLimit.Window = config.Duration(24 * time.Hour) // no test runs across its end, except at midnight
	cfg.Log = config.Log{Level: "Info", Format: "json"}
	cfg.Monitoring.IP, cfg.Monitoring.Port = "127.0.0.1", 0
	return cfg
}

// startRun runs the whole program except its command line. It replaces the
// outputs of o.
func startRun(t *testing.T, cfg config.Config, o Options) *running {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := newRunning(t)
	serving := make(servingLine, 1)
	o.ConfigPath, o.Stdout, o.Stderr = writeConfig(t, string(text)), r.stdout, serving
	go func() { r.ended <- Run(context.Background(), o, r.signals) }()
	select {
	case line := <-serving:
		r.gateway, r.metrics = "http://"+local(t, line.Gateway), cfg.Monitoring.Scheme+"://"+local(t, line.Metrics)
	case err := <-r.ended:
		t.Fatalf("the run ended: %v", err)
	}
	t.Cleanup(r.stop)
	return r
}

// startGateway runs a gateway with a configuration, without config.Load.
func startGateway(t *testing.T, cfg config.Config) *running {
	t.Helper()
	return startLogged(t, cfg, discardLogger())
}

func startLogged(t *testing.T, cfg config.Config, logger *logrus.Logger) *running {
	t.Helper()
	r := newRunning(t)
	g, err := NewGateway(t.Context(), cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	r.g = g
	listeners, err := g.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.gateway = "http://" + local(t, listeners.Public.Addr().String())
	r.metrics = cfg.Monitoring.Scheme + "://" + local(t, listeners.Metrics.Addr().String())
	go func() { r.ended <- g.Run(context.Background(), listeners, r.signals) }()
	t.Cleanup(r.stop)
	return r
}

func newRunning(tb testing.TB) *running {
	return &running{
		stdout: &bytes.Buffer{},
		client: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second},

		tb:         tb,
		signals:    make(chan os.Signal, 2),
		ended:      make(chan error, 1),
		goroutines: runtime.NumGoroutine(),
	}
}

// stop ends the run like SIGINT. It fails the test after an error or if a
// goroutine remains.
func (r *running) stop() { r.stopOnce.Do(r.stopNow) }

func (r *running) stopNow() {
	r.signals <- os.Interrupt
	select {
	case err := <-r.ended:
		if err != nil {
			r.tb.Errorf("the run ended with: %v", err)
		}
	case <-time.After(30 * time.Second):
		r.tb.Error("the run did not end")
		return
	}
	r.client.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > r.goroutines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // a Builder takes everything
			r.tb.Errorf("%d goroutines, %d before the run:\n%s", runtime.NumGoroutine(), r.goroutines, stacks.String())
			return
		}
	}
}

// answer is a response with its whole body.
type answer struct {
	status int
	header http.Header
	body   string
	reason string // of a refusal
}

func (r *running) get(url, jwt string) answer {
	r.tb.Helper()
	request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		r.tb.Fatal(err)
	}
	if jwt != "" {
		request.Header.Set("Authorization", "Bearer "+jwt)
	}
	response, err := r.client.Do(request)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.tb.Fatal(err)
	}
	var problem middleware.Problem
	if response.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(body, &problem); err != nil {
			r.tb.Errorf("the refusal is not JSON: %v", err)
		}
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(body), reason: problem.Reason}
}

func (r *running) want(url, jwt string, status int, reason string) {
	r.tb.Helper()
	if got := r.get(url, jwt); got.status != status || got.reason != reason {
		r.tb.Errorf("%s: %d %q, want %d %q", url, got.status, got.reason, status, reason)
	}
}

// local returns a loopback address for a listener's address, which can be on
// all interfaces.
func local(tb testing.TB, addr string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// freePort returns a free loopback address and its port. Another process could
// take it before the test does, but this is rare.
func freePort(tb testing.TB) (string, int) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	port, err := strconv.Atoi(addr[strings.LastIndex(addr, ":")+1:])
	if err != nil {
		tb.Fatal(err)
	}
	return addr, port
}

// servingLine sends the addresses of the log line "serving".
type servingLine chan addresses

type addresses struct {
	Gateway string `json:"gateway"`
	Metrics string `json:"metrics"`
}

func (s servingLine) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		var found addresses
		if bytes.Contains(line, []byte(`"msg":"serving"`)) && json.Unmarshal(line, &found) == nil {
			s <- found
		}
	}
	return len(lines), nil
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clearEnv unsets the TYK_PROX_* variables of the machine.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TYK_PROX_") {
			t.Setenv(name, "") // restores the value when the test ends
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
