package redisstore_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// budget is the gateway's timeout for Redis.
const budget = 100 * time.Millisecond

// ports has both ports on one client, and a client to change what they read.
type ports struct {
	client  *redisstore.Client
	counter *redisstore.Counter
	records *redisstore.Records
	admin   *redis.Client
}

func newPorts(tb testing.TB, o redisstore.Options) ports {
	client := newClient(tb, o)
	return ports{
		client:  client,
		counter: redisstore.NewCounter(client, time.Minute, nil),
		records: redisstore.NewRecords(client),
		admin:   newAdmin(tb, o.Addr),
	}
}

// use calls both ports and returns their errors, except ErrTokenUnknown.
func (p ports) use(ctx context.Context) (countErr, lookupErr error) {
	_, countErr = p.counter.Count(ctx, apiKey, unlimited)
	_, lookupErr = p.records.Lookup(ctx, apiKey)
	if errors.Is(lookupErr, middleware.ErrTokenUnknown) {
		lookupErr = nil
	}
	return countErr, lookupErr
}

// warm opens the connection and loads the script.
func (p ports) warm(t *testing.T) {
	t.Helper()
	if countErr, lookupErr := p.use(t.Context()); countErr != nil || lookupErr != nil {
		t.Fatalf("warming up: %v, %v", countErr, lookupErr)
	}
}

// concurrently makes n calls at once, checks that none takes longer than the
// budget, and returns how many failed. Failures must be outages.
func concurrently(t *testing.T, n int, call func() error) int {
	t.Helper()
	return concurrentlyWithin(t, n, budget, call)
}

func concurrentlyWithin(t *testing.T, n int, limit time.Duration, call func() error) int {
	t.Helper()
	var failed atomic.Int64
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			begin := time.Now()
			err := call()
			if took := time.Since(begin); took > limit+slack {
				t.Errorf("a call took %s with a budget of %s", took, limit)
			}
			if err != nil {
				failed.Add(1)
				storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
			}
		})
	}
	callers.Wait()
	return int(failed.Load())
}

func (p ports) count(ctx context.Context) func() error {
	return func() error { _, err := p.counter.Count(ctx, apiKey, unlimited); return err }
}

func (p ports) lookup(ctx context.Context) func() error {
	return func() error { _, err := p.records.Lookup(ctx, apiKey); return err }
}

// TestBlackHole has a Redis that accepts connections and never answers. Calls fail
// within the budget, later ones at once, and no goroutine remains.
func TestBlackHole(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newPorts(t, options(server.Addr, budget))
	p.warm(t)
	before := runtime.NumGoroutine()
	server.Pause()
	for range 3 {
		if failed := concurrently(t, 20, p.count(t.Context())); failed != 20 {
			t.Errorf("%d of 20 counts failed on a paused Redis, want 20", failed)
		}
		if failed := concurrently(t, 20, p.lookup(t.Context())); failed != 20 {
			t.Errorf("%d of 20 lookups failed on a paused Redis, want 20", failed)
		}
	}
	awaitGoroutines(t, before)
	server.Resume()
	awaitRecovery(t, p)
}

// TestSlowRedis has a thousand callers. They are all answered by a slow Redis, and
// all get errors from one that is slower than the timeout.
func TestSlowRedis(t *testing.T) {
	for name, delay := range map[string]time.Duration{"slow": 30 * time.Millisecond, "too slow": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			const callers = 1000
			server := storetest.StartRedis(t)
			proxy := storetest.StartProxy(t, server.Addr)
			p := newPorts(t, options(proxy.Addr, budget))
			p.warm(t)
			proxy.Delay(delay)
			failed := concurrently(t, callers, p.count(t.Context()))
			if want := map[bool]int{true: callers}[delay > budget]; failed != want {
				t.Errorf("%d of %d failed, want %d", failed, callers, want)
			}
			proxy.Delay(0)
			awaitRecovery(t, p)
		})
	}
}

// TestLateReply checks that a request whose reply is late is counted once: the
// script is not run again.
func TestLateReply(t *testing.T) {
	const hits = 8
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	p := newPorts(t, options(proxy.Addr, budget))
	p.warm(t)
	p.admin.FlushDB(t.Context())
	proxy.DelayOpen(4 * budget) // a retry on a new connection would be in time
	// Redis answers the probe, so the read waits once more.
	failed := concurrentlyWithin(t, hits, 3*budget, p.count(t.Context()))
	time.Sleep(5 * budget)
	if n := counted(t, newAdmin(t, server.Addr)); n < hits-failed || n > hits {
		t.Errorf("%d requests, of which %d failed, were counted %d times", hits, failed, n)
	}
}

// TestLostReply checks that a lookup is retried if the connection broke, that a
// count is not (it may have happened), and that one broken connection does not
// begin a silence.
func TestLostReply(t *testing.T) {
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	p := newPorts(t, options(proxy.Addr, patience))
	p.warm(t)
	admin := newAdmin(t, server.Addr)
	already := counted(t, admin)
	proxy.BreakOpen()
	_, err := p.counter.Count(t.Context(), apiKey, unlimited)
	storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
	if n := counted(t, admin) - already; n != 1 {
		t.Errorf("a request whose reply was lost was counted %d times, want once", n)
	}
	p.warm(t)
	proxy.BreakOpen()
	_, err = p.records.Lookup(t.Context(), apiKey)
	storetest.CheckError(t, err, middleware.ErrTokenUnknown, apiKey)
	if changes := p.client.Stats().Changes; changes != 0 {
		t.Errorf("%d changes between answering and silent, want 0", changes)
	}
}

// TestCallerLeaves checks that a cancelled context neither closes a connection nor
// cancels an operation.
func TestCallerLeaves(t *testing.T) {
	const hits = 60
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	p := newPorts(t, options(proxy.Addr, patience))
	p.warm(t)
	admin := newAdmin(t, server.Addr)
	before, already := info(t, admin, "total_connections_received"), counted(t, admin)
	proxy.Delay(20 * time.Millisecond)
	var callers sync.WaitGroup
	for range 6 {
		callers.Go(func() {
			for range hits / 6 {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				if countErr, lookupErr := p.use(ctx); countErr != nil || lookupErr != nil {
					t.Error("an operation failed after its context was cancelled")
				}
				cancel()
			}
		})
	}
	callers.Wait()
	if opened := info(t, admin, "total_connections_received") - before; opened != 0 {
		t.Errorf("%d connections were opened again, want 0", opened)
	}
	if n := counted(t, admin) - already; n != hits {
		t.Errorf("%d counted, want %d", n, hits)
	}
}

// TestRestartUnderLoad checks that calls fail as an outage while Redis is down, and
// succeed soon after it is back.
func TestRestartUnderLoad(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newPorts(t, options(server.Addr, patience))
	p.warm(t)
	ctx, stop := context.WithCancel(t.Context())
	var failed, late atomic.Int64
	var recovered atomic.Bool
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				judge := recovered.Load()
				countErr, lookupErr := p.use(context.WithoutCancel(ctx))
				for _, err := range []error{countErr, lookupErr} {
					if err == nil {
						continue
					}
					storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
					failed.Add(1)
					if judge && recovered.Load() { // before and after the call
						late.Add(1)
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	for range 2 {
		time.Sleep(100 * time.Millisecond)
		recovered.Store(false)
		server.Stop()
		time.Sleep(200 * time.Millisecond)
		server.Restart()
		awaitRecovery(t, p)
		recovered.Store(true)
	}
	time.Sleep(300 * time.Millisecond)
	stop()
	callers.Wait()
	if failed.Load() == 0 || late.Load() > 0 {
		t.Errorf("%d calls failed, want some; %d of them after the recovery, want none", failed.Load(), late.Load())
	}
}

// awaitRecovery waits until both ports answer.
func awaitRecovery(t *testing.T, p ports) {
	t.Helper()
	for deadline := time.Now().Add(patience + slack); ; time.Sleep(10 * time.Millisecond) {
		countErr, lookupErr := p.use(t.Context())
		if countErr == nil && lookupErr == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %s waiting for the end of the outage", patience)
		}
	}
}
