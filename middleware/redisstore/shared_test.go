package redisstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// shifted returns n counters with their own clients and with clocks that are wrong
// by -spread to +spread.
func shifted(t *testing.T, addr string, n int, window, spread time.Duration) []*redisstore.Counter {
	counters := make([]*redisstore.Counter, n)
	for i := range counters {
		shift := -spread + 2*spread*time.Duration(i)/time.Duration(n-1)
		now := func() time.Time { return time.Now().Add(shift) }
		counters[i] = redisstore.NewCounter(newClient(t, options(addr, patience)), window, now)
	}
	return counters
}

// TestTenGateways checks that ten gateways on one Redis admit exactly the limit,
// even if their clocks are wrong.
func TestTenGateways(t *testing.T) {
	const gateways, limit, hits = 10, 500, 2000
	server := storetest.StartRedis(t)
	admin := newAdmin(t, server.Addr)
	for name, c := range map[string]struct {
		window, spread time.Duration
		from, until    time.Duration // when to begin, in the window
	}{
		"a long window": {time.Minute, 2 * time.Second, 0, 57 * time.Second},
		// Some clocks are in the previous window and some in the next.
		"a window that just began":    {4 * time.Second, 2 * time.Second, 0, time.Second},
		"clocks that are windows off": {time.Minute, 90 * time.Second, 0, 57 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			admin.FlushAll(t.Context())
			counters := shifted(t, server.Addr, gateways, c.window, c.spread)
			awaitWindow(t, admin, c.window, c.from, c.until)
			tally, asked, admitted := hammer(t, counters, hits, limit)
			if err := tally.Check(int(asked)); err != nil {
				t.Error(err)
			}
			if admitted != limit || tally.Windows() != 1 {
				t.Errorf("%d admitted in %d windows, want exactly %d in one", admitted, tally.Windows(), limit)
			}
			if n := counted(t, admin); n != int(asked) || asked == hits {
				t.Errorf("Redis counted %d of %d requests and was asked for %d; want some refused from memory", n, hits, asked)
			}
		})
	}
}

// hammer sends concurrent requests of one key through the rate_limit stages of
// several gateways.
func hammer(t *testing.T, counters []*redisstore.Counter, hits, limit int) (tally *storetest.Tally, asked, admitted int64) {
	var (
		told             storetest.Tally
		counted, allowed atomic.Int64
		callers          sync.WaitGroup
	)
	for _, counter := range counters {
		const concurrent = 8
		stage := middleware.NewRateLimit(middleware.RateLimitConfig{Counter: counter})
		for range concurrent {
			callers.Go(func() {
				for range hits / len(counters) / concurrent {
					ex := &middleware.Exchange{
						Claims: middleware.Claims{APIKey: apiKey}, Record: &middleware.Record{RateLimit: int64(limit)},
					}
					o := stage.Check(t.Context(), ex)
					storetest.CheckError(t, o.Err, nil, apiKey)
					q := ex.Quota
					if q.Source == middleware.SourceRedis { // refusals from memory are not counted
						told.Add(q)
						counted.Add(1)
					}
					if o.Proceeds() {
						allowed.Add(1)
					}
				}
			})
		}
	}
	callers.Wait()
	return &told, counted.Load(), allowed.Load()
}

// TestBoundariesUnderLoad checks that no request is counted twice or in a wrong
// window while windows end.
func TestBoundariesUnderLoad(t *testing.T) {
	const window = time.Second
	server := storetest.StartRedis(t)
	counters := shifted(t, server.Addr, 4, window, 2*time.Second)
	var (
		tally   storetest.Tally
		total   atomic.Int64
		callers sync.WaitGroup
	)
	deadline := time.Now().Add(2*window + window/2)
	for _, counter := range counters {
		callers.Go(func() {
			for time.Now().Before(deadline) {
				quota, err := counter.Count(t.Context(), apiKey, unlimited)
				storetest.CheckError(t, err, nil, apiKey)
				tally.Add(quota)
				total.Add(1)
			}
		})
	}
	callers.Wait()
	if err := tally.Check(int(total.Load())); err != nil {
		t.Error(err)
	}
	if n := tally.Windows(); n < 3 {
		t.Errorf("the load ran in %d windows, want 3", n)
	}
}

// TestClockOffset checks that a wrong clock costs only one more round trip.
func TestClockOffset(t *testing.T) {
	server := storetest.StartRedis(t)
	admin := newAdmin(t, server.Addr)
	awaitWindow(t, admin, time.Minute, 0, 57*time.Second)
	const shift = -90 * time.Second
	now := func() time.Time { return time.Now().Add(shift) }
	counter := redisstore.NewCounter(newClient(t, options(server.Addr, patience)), time.Minute, now)
	for _, trips := range []int{3, 1, 1, 1} { // EVALSHA, EVAL because the script is new, EVALSHA again
		before := info(t, admin, "total_reads_processed")
		_, err := counter.Count(t.Context(), apiKey, unlimited)
		storetest.CheckError(t, err, nil, apiKey)
		extra := 1 // the INFO itself
		if trips == 3 {
			extra++ // the handshake of the first connection
		}
		if got := info(t, admin, "total_reads_processed") - before - extra; got != trips {
			t.Errorf("%d round trips, want %d", got, trips)
		}
	}
	if off := counter.ClockOffset() + shift; off.Abs() > time.Second {
		t.Errorf("the clock's offset is wrong by %s", off)
	}
}

// TestNoScript checks that no request fails and no count is lost while the scripts of
// Redis are flushed.
func TestNoScript(t *testing.T) {
	const hits = 2000
	server := storetest.StartRedis(t)
	admin := newAdmin(t, server.Addr)
	ctx, stop := context.WithCancel(t.Context())
	var flushes atomic.Int64
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for ctx.Err() == nil {
			if admin.ScriptFlush(context.WithoutCancel(ctx)).Err() == nil {
				flushes.Add(1)
			}
		}
	})
	tally, _, _ := hammer(t, shifted(t, server.Addr, 5, time.Minute, 0), hits, hits)
	stop()
	flusher.Wait()
	if err := tally.Check(hits); err != nil {
		t.Error(err)
	}
	if n := counted(t, admin); n != hits || flushes.Load() < 10 {
		t.Errorf("%d counted over %d flushes, want %d over at least 10", n, flushes.Load(), hits)
	}
}

// TestCounterKeyOnRedis checks the time to live on a real Redis. It is set once.
func TestCounterKeyOnRedis(t *testing.T) {
	const window = 10 * time.Second
	server := storetest.StartRedis(t)
	admin := newAdmin(t, server.Addr)
	counter := redisstore.NewCounter(newClient(t, options(server.Addr, patience)), window, nil)
	awaitWindow(t, admin, window, 0, 8*time.Second)
	previous := time.Duration(0)
	for i := range 3 {
		quota, err := counter.Count(t.Context(), apiKey, unlimited)
		storetest.CheckError(t, err, nil, apiKey)
		key := counterKey(quota.ResetAt.Add(-window).Unix())
		ttl, err := admin.PTTL(t.Context(), key).Result()
		if err != nil || ttl <= window || ttl > window+time.Second {
			t.Fatalf("a new counter lives for %s (%v), want the window of %s and up to a second", ttl, err, window)
		}
		if i > 0 && ttl > previous-50*time.Millisecond {
			t.Errorf("request %d set the time to live again: %s, was %s", i+1, ttl, previous)
		}
		previous = ttl
		time.Sleep(60 * time.Millisecond)
	}
	if keys := admin.Keys(t.Context(), "*").Val(); len(keys) != 1 {
		t.Errorf("there are %d keys, want 1", len(keys))
	}
}
