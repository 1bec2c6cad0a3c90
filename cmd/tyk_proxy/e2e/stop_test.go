package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// notReadyWithin is the limit for /ready to change after SIGTERM. It takes
// microseconds, but the test machine may be slow.
const notReadyWithin = time.Second

// gate is a backend that blocks requests for /api/v1/test until it is opened.
// Its body is long enough to detect truncation.
type gate struct {
	url    string
	inside atomic.Int64
	open   chan struct{}
}

func startGate(tb testing.TB) *gate {
	tb.Helper()
	g := &gate{open: make(chan struct{})}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/test" {
			g.inside.Add(1)
			select {
			case <-g.open:
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, strings.Repeat("0123456789abcdef", 1<<12))
	}))
	tb.Cleanup(backend.Close)
	g.url = backend.URL
	return g
}

// hold sends n requests that the gate blocks, and waits until it has them all.
// It returns a function that waits for their answers.
func (g *gate) hold(tb testing.TB, p *program, jwt string, n int64) func() []result {
	tb.Helper()
	results := make([]result, n)
	var running sync.WaitGroup
	for i := range results {
		running.Go(func() { results[i].answer, results[i].err = tryURL(http.MethodGet, p.base+"/api/v1/test", jwt) })
	}
	eventually(tb, startWithin, "the backend has all requests", func() bool { return g.inside.Load() == n })
	return func() []result { running.Wait(); return results }
}

type result struct {
	answer answer
	err    error
}

// After SIGTERM /ready changes first, new requests are still served, the
// listener closes, requests in flight end, and their telemetry is exported.
func TestTerminationLosesNoRequests(t *testing.T) {
	const inFlight = 100
	backend, spans := startGate(t), startCollector(t)
	cfg := testConfig(storetest.StartRedis(t).Addr, backend.url)
	cfg.ServerTimeouts.DrainDelay = config.Duration(1500 * time.Millisecond)
	cfg.Telemetry.Traces.Endpoint = spans.url
	p := start(t, cfg)
	token := mintToken(t, cfg, 1000)
	p.get("/ready", "").want(t, http.StatusOK, "")
	wait := backend.hold(t, p, token.JWT, inFlight)

	p.signal(syscall.SIGTERM)
	terminated := time.Now()
	eventually(t, time.Second, "not ready", func() bool { return p.get("/ready", "").status != http.StatusOK })
	if took := time.Since(terminated); took > notReadyWithin {
		t.Errorf("not ready only after %s, want %s", took, notReadyWithin)
	}
	p.get("/ready", "").want(t, http.StatusServiceUnavailable, "draining")
	p.get("/health", "").want(t, http.StatusOK, "")
	late := p.get("/api/v1/test2", token.JWT)
	if late.want(t, http.StatusOK, ""); !late.close {
		t.Error("a request during the drain delay was not asked to close its connection")
	}
	eventually(t, 5*time.Second, "the listener refuses", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if open := time.Since(terminated); open < time.Duration(cfg.ServerTimeouts.DrainDelay) {
		t.Errorf("the listener closed after %s, before the drain delay of %s was over", open, cfg.ServerTimeouts.DrainDelay)
	}

	close(backend.open)
	for i, r := range wait() {
		if r.err != nil || r.answer.status != http.StatusOK || len(r.answer.body) != 1<<16 {
			t.Errorf("request %d: status %d, %d bytes, %v; want 200 and all of it", i, r.answer.status, len(r.answer.body), r.err)
		}
	}
	p.wantExit(0, stopWithin)
	if served, proxied := spans.requests(t); served != inFlight+1 || proxied != inFlight+1 {
		t.Errorf("the collector has the server spans of %d requests and the proxy spans of %d, want %d",
			served, proxied, inFlight+1)
	}
}

// After SIGINT there is no drain delay.
func TestInterruptSkipsDrainDelay(t *testing.T) {
	backend := startGate(t)
	cfg := testConfig(storetest.StartRedis(t).Addr, backend.url)
	cfg.ServerTimeouts.DrainDelay = config.Duration(time.Hour)
	p := start(t, cfg)
	wait := backend.hold(t, p, mintToken(t, cfg, 10).JWT, 1)
	p.signal(os.Interrupt)
	eventually(t, 5*time.Second, "the gateway stops", func() bool {
		_, err := tryURL(http.MethodGet, p.base+"/ready", "")
		return err != nil
	})
	close(backend.open)
	if r := wait()[0]; r.err != nil || r.answer.status != http.StatusOK {
		t.Errorf("the request in flight: %d, %v; want 200", r.answer.status, r.err)
	}
	p.wantExit(0, stopWithin)
}

// A second signal ends every wait: the drain delay, a request that never ends,
// and a collector that never answers.
func TestSecondSignal(t *testing.T) {
	const atOnce = 2 * time.Second
	redis := storetest.StartRedis(t)
	t.Run("drain delay", func(t *testing.T) {
		cfg := testConfig(redis.Addr, "http://127.0.0.1:1")
		cfg.ServerTimeouts.DrainDelay = config.Duration(time.Hour)
		p := start(t, cfg)
		p.signal(syscall.SIGTERM)
		eventually(t, time.Second, "draining", func() bool { return p.get("/ready", "").reason() == "draining" })
		p.signal(syscall.SIGTERM)
		p.wantExit(0, atOnce)
	})
	t.Run("request and collector", func(t *testing.T) {
		backend := startGate(t)
		cfg := testConfig(redis.Addr, backend.url)
		cfg.ServerTimeouts.ShutdownTimeout = config.Duration(time.Hour)
		cfg.Telemetry.Traces.Endpoint = startDeadCollector(t)
		p := start(t, cfg)
		wait := backend.hold(t, p, mintToken(t, cfg, 10).JWT, 1)
		p.signal(os.Interrupt)
		eventually(t, 5*time.Second, "the listener refuses", func() bool {
			_, err := tryURL(http.MethodGet, p.base+"/health", "")
			return err != nil
		})
		p.signal(os.Interrupt)
		p.wantExit(1, atOnce)
		wantShutDown(t, wait()[0])
	})
}

// If the collector is down, the stop takes not much longer and is still a
// success.
func TestStopWithDeadCollector(t *testing.T) {
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	cfg.Telemetry.Traces.Endpoint = startDeadCollector(t)
	p := start(t, cfg)
	p.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, http.StatusOK, "")
	p.signal(syscall.SIGTERM)
	p.wantExit(0, stopWithin)
}

// Connections without a request do not delay the stop beyond its limit, are
// not errors, and do not prevent the export of spans.
func TestIdleConnectionsAtTermination(t *testing.T) {
	spans := startCollector(t)
	cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
	cfg.ServerTimeouts.ShutdownTimeout = config.Duration(time.Second)
	cfg.Telemetry.Traces.Endpoint = spans.url
	p := start(t, cfg)
	for _, url := range []string{p.base, p.metrics} {
		dialURL(t, url)
	}
	p.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, http.StatusOK, "")
	p.signal(syscall.SIGTERM)
	p.wantExit(0, 4*time.Second)
	if served, _ := spans.requests(t); served != 1 {
		t.Errorf("the collector has %d server spans, want 1", served)
	}
}
