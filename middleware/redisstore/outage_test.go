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

// budget is a gateway's, for one use of Redis.
const budget = 100 * time.Millisecond

// ports are both ports on one client.
type ports struct {
	client  *redis.Client
	counter *redisstore.Counter
	tokens  *redisstore.Tokens
}

func newPorts(tb testing.TB, o redisstore.Options, budget time.Duration) ports {
	client := newClient(tb, o)
	return ports{
		client:  client,
		counter: redisstore.NewCounter(client, time.Minute, budget, nil),
		tokens:  redisstore.NewTokens(client, budget),
	}
}

// use asks both ports and returns their errors; an unknown token is an answer.
func (p ports) use(ctx context.Context) (countErr, lookupErr error) {
	_, countErr = p.counter.Count(ctx, apiKey)
	_, lookupErr = p.tokens.Lookup(ctx, apiKey)
	if errors.Is(lookupErr, middleware.ErrTokenUnknown) {
		lookupErr = nil
	}
	return countErr, lookupErr
}

// warm opens n connections and lets the script be known. The pool hands out
// open connections before it dials, so n are checked out at once.
func (p ports) warm(t *testing.T, n int) {
	t.Helper()
	if countErr, lookupErr := p.use(t.Context()); countErr != nil || lookupErr != nil {
		t.Fatal("warming up failed")
	}
	conns := make([]*redis.Conn, n)
	for i := range conns {
		conns[i] = p.client.Conn()
		if err := conns[i].Ping(t.Context()).Err(); err != nil {
			t.Fatalf("warming up: %v", err)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
}

// concurrently calls n times at once, checks that every call takes no longer
// than the budget, and returns how many failed; failures must be outages.
func concurrently(t *testing.T, n int, call func() error) int {
	t.Helper()
	var failed atomic.Int64
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			begin := time.Now()
			err := call()
			if took := time.Since(begin); took > budget+slack {
				t.Errorf("a call took %s with a budget of %s", took, budget)
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
	return func() error { _, err := p.counter.Count(ctx, apiKey); return err }
}

func (p ports) lookup(ctx context.Context) func() error {
	return func() error { _, err := p.tokens.Lookup(ctx, apiKey); return err }
}

// TestBlackHole: a Redis that accepts and never answers costs a call its
// budget and leaves nothing behind.
func TestBlackHole(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newPorts(t, options(server.Addr, budget), budget)
	p.warm(t, 4)
	before := runtime.NumGoroutine()
	server.Pause()
	for range 3 {
		if failed := concurrently(t, 20, p.count(t.Context())); failed != 20 {
			t.Errorf("%d of 20 requests failed to be counted by a paused Redis", failed)
		}
		if failed := concurrently(t, 20, p.lookup(t.Context())); failed != 20 {
			t.Errorf("%d of 20 lookups failed on a paused Redis", failed)
		}
	}
	awaitGoroutines(t, before)
	server.Resume()
	awaitRecovery(t, p)
}

// TestSlowRedisSmallPool: two hundred callers of four connections get their
// answer or an error inside the budget.
func TestSlowRedisSmallPool(t *testing.T) {
	const callers = 200
	for name, delay := range map[string]time.Duration{"slow": 30 * time.Millisecond, "too slow": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			server := storetest.StartRedis(t)
			proxy := storetest.StartProxy(t, server.Addr)
			o := options(proxy.Addr, budget)
			o.PoolSize, o.PoolTimeout = 4, budget/2
			p := newPorts(t, o, budget)
			p.warm(t, 4)
			before := runtime.NumGoroutine()
			proxy.Delay(delay)
			var waitedInVain atomic.Bool
			failed := concurrently(t, callers, func() error {
				_, err := p.counter.Count(t.Context(), apiKey)
				if errors.Is(err, redis.ErrPoolTimeout) {
					waitedInVain.Store(true)
				}
				return err
			})
			if !waitedInVain.Load() {
				t.Error("nobody was told that the pool is exhausted")
			}
			if failed == 0 || (failed == callers) != (delay > budget) {
				t.Errorf("%d of %d failed", failed, callers)
			}
			awaitGoroutines(t, before)
			proxy.Delay(0)
			awaitRecovery(t, p)
		})
	}
}

// TestLateReply: a reply that comes after the timeout was a request counted,
// and it stays one: nobody runs the script again.
func TestLateReply(t *testing.T) {
	const hits = 8
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	o := options(proxy.Addr, patience)
	o.Timeout = budget // a reply may be late while the budget lasts
	p := newPorts(t, o, patience)
	p.warm(t, hits)
	admin := newClient(t, options(server.Addr, patience))
	admin.FlushDB(t.Context())
	proxy.DelayOpen(4 * budget) // a second try, on a new connection, would be in time
	if failed := concurrently(t, hits, p.count(t.Context())); failed != hits {
		t.Errorf("%d of %d requests failed, want all", failed, hits)
	}
	if n := counted(t, admin); n != hits {
		t.Errorf("%d requests were counted %d times", hits, n)
	}
}

// TestLostReply: a lookup whose connection broke is tried once more, a count
// is not, since it may have happened.
func TestLostReply(t *testing.T) {
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	p := newPorts(t, options(proxy.Addr, patience), patience)
	p.warm(t, 1)
	admin := newClient(t, options(server.Addr, patience))
	already := counted(t, admin)
	proxy.BreakOpen()
	_, err := p.counter.Count(t.Context(), apiKey)
	storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
	if n := counted(t, admin) - already; n != 1 {
		t.Errorf("a request whose reply was lost was counted %d times, want once", n)
	}
	p.warm(t, 1)
	proxy.BreakOpen()
	_, err = p.tokens.Lookup(t.Context(), apiKey)
	storetest.CheckError(t, err, middleware.ErrTokenUnknown, apiKey)
}

// TestCallerLeaves: a client that goes away while Redis works costs no
// connection and does not undo the operation.
func TestCallerLeaves(t *testing.T) {
	const hits = 60
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	p := newPorts(t, options(proxy.Addr, patience), patience)
	p.warm(t, 8)
	admin := newClient(t, options(server.Addr, patience))
	before, already := info(t, admin, "total_connections_received"), counted(t, admin)
	proxy.Delay(20 * time.Millisecond)
	var callers sync.WaitGroup
	for range 6 {
		callers.Go(func() {
			for range hits / 6 {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				if countErr, lookupErr := p.use(ctx); countErr != nil || lookupErr != nil {
					t.Error("an operation failed because its caller left")
				}
				cancel()
			}
		})
	}
	callers.Wait()
	if opened := info(t, admin, "total_connections_received") - before; opened != 0 {
		t.Errorf("%d connections had to be opened again", opened)
	}
	if n := counted(t, admin) - already; n != hits {
		t.Errorf("%d counted, want %d", n, hits)
	}
}

// TestRestartUnderLoad: while Redis is away calls fail as an outage, and soon
// after it is back all succeed.
func TestRestartUnderLoad(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newPorts(t, options(server.Addr, patience), patience)
	p.warm(t, 8)
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

// awaitRecovery waits until both ports answer: go-redis asks once a second
// whether a server that refused its connections is back.
func awaitRecovery(t *testing.T, p ports) {
	t.Helper()
	for deadline := time.Now().Add(patience + slack); ; time.Sleep(10 * time.Millisecond) {
		countErr, lookupErr := p.use(t.Context())
		if countErr == nil && lookupErr == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no recovery within %s", patience)
		}
	}
}
