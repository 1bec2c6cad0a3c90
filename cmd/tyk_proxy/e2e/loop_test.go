package e2e_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"tyk_proxy/middleware/storetest"
)

// A backend's address that leads back to the gateway, which the start cannot see,
// costs the token two requests and not its whole limit.
func TestLoopEnds(t *testing.T) {
	redis := storetest.StartRedis(t)
	for name, replicas := range map[string]int{"one gateway": 1, "two gateways behind one address": 2} {
		t.Run(name, func(t *testing.T) {
			addrs := make([]string, replicas)
			for i := range addrs {
				addrs[i] = storetest.FreeAddr(t)
			}
			// The address in front of all gateways leads to the last one.
			front := storetest.StartProxy(t, addrs[replicas-1])
			cfg := testConfig(redis.Addr, "http://"+front.Addr)
			var first *program
			for i, addr := range addrs {
				_, service, _ := net.SplitHostPort(addr)
				port, err := net.LookupPort("tcp", service)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Application.Port = port
				if p := start(t, cfg); i == 0 {
					first = p
				}
			}
			first.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, http.StatusLoopDetected, "loop_detected")
			if replicas == 1 && !counted(first, 2) {
				t.Errorf("want the lines of 2 requests, got\n%s", first.stderr.String())
			}
		})
	}
}

// counted waits until the log has that many lines of requests.
func counted(p *program, requests int) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if len(p.logged("gateway.stage")) >= requests {
			break
		}
	}
	return len(p.logged("gateway.stage")) == requests
}

// A gateway in front of another one, with the same secret, is no loop.
func TestGatewayBeforeGateway(t *testing.T) {
	redis := storetest.StartRedis(t)
	cfg := testConfig(redis.Addr, echo(t))
	back := start(t, cfg)
	cfg.Application.TargetHost = back.base
	front := start(t, cfg)
	front.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, http.StatusOK, "")
}
