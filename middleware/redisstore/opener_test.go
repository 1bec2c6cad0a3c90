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

// TestPoolTimeoutIsNotRetried: whoever waited for a connection in vain waits
// once. A second try would begin with what is left of the budget, and break the
// connections that it gets.
func TestPoolTimeoutIsNotRetried(t *testing.T) {
	o := options(storetest.StartRedis(t).Addr, budget)
	o.PoolSize, o.PoolTimeout = 1, budget/5
	p := newPorts(t, o, budget)
	held := p.client.Conn()
	defer held.Close()
	if err := held.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if failed := concurrently(t, 3, p.lookup(t.Context())); failed != 3 {
		t.Errorf("%d of 3 lookups failed without a connection", failed)
	}
	if waited := p.client.PoolStats().Timeouts; waited != 3 {
		t.Errorf("3 lookups waited %d times for a connection", waited)
	}
}
