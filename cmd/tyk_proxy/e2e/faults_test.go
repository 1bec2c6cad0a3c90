package e2e_test

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

const (
	// exportTimeout is shorter than the default, so that the tests are faster.
	exportTimeout = 3 * time.Second
	// backWithin is the time until spans arrive after an outage: a hanging
	// export must end, and gRPC waits up to five seconds to reconnect.
	backWithin = 30 * time.Second
)

// faultsConfig is a configuration with a collector of the test, and the
// variable that sets exportTimeout.
func faultsConfig(redis, target, endpoint string) (cfg config.Config, env []string) {
	cfg = testConfig(redis, target)
	cfg.Telemetry.Traces.Endpoint = endpoint
	return cfg, []string{"OTEL_EXPORTER_OTLP_TIMEOUT=3000"}
}

// A collector can be down, refuse or hang. Requests are not affected, lost
// spans are counted, and the export recovers.
func TestCollectorFaults(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"grpc", "http"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			c := newBreakable(t, scheme)
			cfg, env := faultsConfig(storetest.StartRedis(t).Addr, echo(t), c.url)
			p := startWith(t, cfg, env)
			token := mintToken(t, cfg, 1e6).JWT

			t.Log("down at the start")
			outage(t, p, token, 20, "failed")
			t.Log("refuses")
			c.set(refuses)
			c.up()
			c.awaitAsked(p, token, backWithin)
			outage(t, p, token, 20, "failed")
			t.Log("hangs")
			c.set(hangs)
			c.awaitAsked(p, token, backWithin)
			// These are more traces than the queue of 2048 holds.
			outage(t, p, token, 2600, "failed", "dropped")
			t.Log("is back")
			c.set(takes)
			c.awaitNew(p, token, backWithin)
			t.Log("restarts")
			c.down()
			outage(t, p, token, 20, "failed")
			c.up()
			c.awaitNew(p, token, backWithin)

			// The numbers are not equal: an export without a reply has
			// arrived, but counts as failed.
			eventually(t, startWithin, "the exported spans have arrived", func() bool {
				counted := p.fates("spans")
				exported, taken := counted["exported"], c.taken()
				return exported > 0 && exported <= taken && taken <= exported+counted["failed"]
			})
			p.signal(syscall.SIGTERM)
			p.wantExit(0, stopWithin)
		})
	}
}

// outage sends requests, none of which may be affected, and waits until spans
// are counted with the fates.
func outage(t *testing.T, p *program, jwt string, requests int, fates ...string) {
	t.Helper()
	before := p.fates("spans")
	got := p.hammer(jwt, requests)
	if got.statuses[http.StatusOK] != requests {
		t.Errorf("statuses %v, want 200 only", got.statuses)
	}
	if got.slowest > exportTimeout/2 {
		t.Errorf("a request took %s: it waited for the collector", got.slowest)
	}
	eventually(t, backWithin, "spans are counted as "+strings.Join(fates, " and "), func() bool {
		now := p.fates("spans")
		for _, fate := range fates {
			if now[fate] <= before[fate] {
				return false
			}
		}
		return true
	})
}

// The stop ends in time and without an error for every failure of the
// collector.
func TestStopWithBrokenCollector(t *testing.T) {
	t.Parallel()
	redis, backend := storetest.StartRedis(t), echo(t)
	for _, scheme := range []string{"grpc", "http"} {
		for name, breaks := range map[string]func(*breakable){
			"down":    func(*breakable) {},
			"refuses": func(c *breakable) { c.set(refuses); c.up() },
			"hangs":   func(c *breakable) { c.set(hangs); c.up() },
			"silent":  (*breakable).listenOnly,
		} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				t.Parallel()
				c := newBreakable(t, scheme)
				breaks(c)
				// The default export timeout is longer than the timeout of the
				// stop.
				cfg, _ := faultsConfig(redis.Addr, backend, c.url)
				p := start(t, cfg)
				p.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, http.StatusOK, "")
				p.signal(syscall.SIGTERM)
				p.wantExit(0, stopWithin)
			})
		}
	}
}

// listenOnly accepts connections and never answers.
func (c *breakable) listenOnly() {
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.stop = func() { _ = listener.Close() }
}
