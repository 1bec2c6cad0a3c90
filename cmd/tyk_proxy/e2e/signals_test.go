package e2e_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/middleware/storetest"
)

// SIGHUP is answered with a log line, also beside a request and during the drain.
// It is neither a stop nor the second signal that ends all waits.
func TestHangup(t *testing.T) {
	backend := startGate(t)
	cfg := testConfig(storetest.StartRedis(t).Addr, backend.url)
	p := start(t, cfg)
	lines := func() int {
		n := 0
		for _, message := range p.logged("msg") {
			if message == "nothing to reload yet: restart to change settings" {
				n++
			}
		}
		return n
	}
	wait := backend.hold(t, p, mintToken(t, cfg, 10).JWT, 1)
	p.signal(syscall.SIGHUP)
	eventually(t, 5*time.Second, "a log line about SIGHUP", func() bool { return lines() == 1 })
	p.get("/ready", "").want(t, http.StatusOK, "")
	p.signal(os.Interrupt)
	eventually(t, 5*time.Second, "the stop", func() bool { return slices.Contains(p.logged("msg"), "stopping") })
	p.signal(syscall.SIGHUP)
	eventually(t, 5*time.Second, "another log line about SIGHUP", func() bool { return lines() == 2 })
	close(backend.open)
	if r := wait()[0]; r.err != nil || r.answer.status != http.StatusOK {
		t.Errorf("the request in flight: %d, %v; want 200", r.answer.status, r.err)
	}
	p.wantExit(0, stopWithin)
}

// SIGQUIT has Go's meaning: the program prints its goroutines and exits with 2.
func TestQuit(t *testing.T) {
	p := start(t, testConfig(storetest.StartRedis(t).Addr, echo(t)))
	p.signal(syscall.SIGQUIT)
	p.wantExit(2, stopWithin)
	if said := p.stderr.String(); !strings.Contains(said, "SIGQUIT: quit") || !strings.Contains(said, "goroutine ") {
		t.Errorf("stderr has no goroutines:\n%s", said)
	}
}
