package redisstore_test

import (
	"testing"
	"time"

	"tyk_proxy/middleware/storetest"
)

// TestSlowHandshake: where the handshake of a connection and a command together
// take longer than the budget, though neither does, requests are served as soon
// as connections were opened behind the first, and no longer opened one by one.
func TestSlowHandshake(t *testing.T) {
	proxy := storetest.StartProxy(t, storetest.StartRedis(t).Addr)
	proxy.Delay(budget * 6 / 10)
	p := newPorts(t, options(proxy.Addr, budget), budget)
	if failed := concurrently(t, 4, p.count(t.Context())); failed != 4 {
		t.Fatalf("%d of 4 requests failed on connections that have yet to be opened; the test shows nothing", failed)
	}
	awaitRecovery(t, p)
	for deadline := time.Now().Add(patience); ; {
		failed := concurrently(t, 4, p.count(t.Context()))
		if failed == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 4 concurrent requests still fail", failed)
		}
	}
}
