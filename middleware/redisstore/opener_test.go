package redisstore_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tyk_proxy/middleware/storetest"
)

// TestSlowHandshake: where the handshake of a connection and a command together
// take longer than the budget, though neither does, requests are served as soon
// as connections were opened behind the first, and no longer opened one by one.
func TestSlowHandshake(t *testing.T) {
	const budget = 500 * time.Millisecond
	proxy := storetest.StartProxy(t, storetest.StartRedis(t).Addr)
	proxy.Delay(budget * 6 / 10)
	p := newPorts(t, options(proxy.Addr, budget), budget)
	together := func() (failed int64) {
		var failures atomic.Int64
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				if p.count(t.Context())() != nil {
					failures.Add(1)
				}
			})
		}
		callers.Wait()
		return failures.Load()
	}
	failed := together()
	if failed != 4 {
		t.Fatalf("%d of 4 requests failed on connections that have yet to be opened; the test shows nothing", failed)
	}
	for deadline := time.Now().Add(20 * time.Second); failed > 0; failed = together() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 4 concurrent requests still fail", failed)
		}
	}
}

// TestPoolTimeoutIsNotRetried: whoever waited for a connection in vain waits
// once. A second try would begin with what is left of the budget, and break the
// connections that it gets.
func TestPoolTimeoutIsNotRetried(t *testing.T) {
	o := options(storetest.StartRedis(t).Addr, patience)
	o.PoolSize, o.PoolTimeout = 1, budget/5
	p := newPorts(t, o, patience)
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
