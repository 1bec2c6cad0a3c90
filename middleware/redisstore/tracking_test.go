package redisstore_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// newCached returns the ports of a gateway with a client-side cache.
func newCached(t *testing.T, addr string, timeout time.Duration) ports {
	t.Helper()
	o := options(addr, timeout)
	o.ClientSideCache = true
	p := newPorts(t, o)
	if err := p.client.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// put writes apiKey's record with a limit through the admin's client.
func (p ports) put(t *testing.T, limit int) {
	t.Helper()
	record := storetest.Record(apiKey, int64(limit), time.Now().Add(time.Hour), "/a")
	if err := p.admin.Set(t.Context(), redisstore.RecordPrefix+apiKey, record, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// limit returns the limit in the record of apiKey, or -1 if there is no record.
func (p ports) limit(t *testing.T) int64 {
	t.Helper()
	token, err := p.records.Lookup(t.Context(), apiKey)
	if err != nil {
		storetest.CheckError(t, err, middleware.ErrTokenUnknown, apiKey)
		return -1
	}
	return token.RateLimit
}

// await waits until the limit is want, and returns how long it took.
func (p ports) await(t *testing.T, want int64) time.Duration {
	t.Helper()
	for began := time.Now(); ; {
		got := p.limit(t)
		took := time.Since(began)
		if got == want {
			return took
		}
		if took > patience {
			t.Fatalf("the limit is %d after waiting for %s, want %d", got, took, want)
		}
	}
}

// TestRecordsFromMemory checks that a record is read once, and that changes,
// deletions, expiries and flushes take effect.
func TestRecordsFromMemory(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newCached(t, server.Addr, patience)
	p.put(t, 1)
	p.await(t, 1)
	before := info(t, p.admin, "total_commands_processed")
	for range 1000 {
		if got := p.limit(t); got != 1 {
			t.Fatalf("limit %d", got)
		}
	}
	// MaxStaleness may pass during the test; the other command is the INFO.
	if asked := info(t, p.admin, "total_commands_processed") - before - 1; asked > 3 {
		t.Errorf("1000 lookups sent %d commands to Redis", asked)
	}
	const soon = 50 * time.Millisecond
	for change, do := range map[string]struct {
		run  func()
		want int64
	}{
		"set":    {func() { p.put(t, 7) }, 7},
		"delete": {func() { p.admin.Del(t.Context(), redisstore.RecordPrefix+apiKey) }, -1},
		"expire": {func() { p.admin.PExpire(t.Context(), redisstore.RecordPrefix+apiKey, time.Millisecond) }, -1},
		"flush":  {func() { p.admin.FlushAll(t.Context()) }, -1},
		"rename": {func() { p.admin.Rename(t.Context(), redisstore.RecordPrefix+apiKey, "elsewhere") }, -1},
	} {
		p.put(t, 1)
		p.await(t, 1)
		do.run()
		if took := p.await(t, do.want); took > soon+slack {
			t.Errorf("%s took effect after %s", change, took)
		}
	}
}

// staleness runs readers while a record is written, and returns the longest time
// after which one of them still got a replaced value.
func (p ports) staleness(t *testing.T, readers int, pause, each time.Duration) time.Duration {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	const writes = 1 << 12
	var written [writes]atomic.Int64 // when a limit was replaced by the next, Unix nanoseconds
	var oldest atomic.Int64
	p.put(t, 0)
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for ctx.Err() == nil {
				began := time.Now().UnixNano()
				limit := p.limit(t)
				if limit < 0 {
					t.Error("an existing record was not found")
					return
				}
				if replaced := written[limit].Load(); replaced != 0 && began-replaced > oldest.Load() {
					oldest.Store(began - replaced)
				}
				time.Sleep(pause)
			}
		})
	}
	for limit := 1; limit <= int(2*time.Second/each); limit++ {
		time.Sleep(each)
		p.put(t, limit)
		written[limit-1].Store(time.Now().UnixNano())
	}
	stop()
	reading.Wait()
	return time.Duration(oldest.Load())
}

// TestStaleness checks that a change takes effect within 250 ms on a busy machine
// and within 50 ms otherwise. On an idle machine it took 60 ms and 8 ms.
func TestStaleness(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newCached(t, server.Addr, patience)
	for name, row := range map[string]struct {
		readers     int
		pause, most time.Duration
	}{
		"saturated": {32, 0, 250 * time.Millisecond},
		"half":      {8, time.Millisecond, 50 * time.Millisecond},
	} {
		got := p.staleness(t, row.readers, row.pause, 10*time.Millisecond)
		t.Logf("%s: %s", name, got)
		if got > row.most+slack {
			t.Errorf("%s: a reader got a value that was replaced %s before", name, got)
		}
	}
	if stats := p.client.Stats(); stats.CacheHits < 10*stats.CacheMisses {
		t.Errorf("the cache was not used: %+v", stats)
	}
}

// TestBrokenTracking checks that records are not served from memory after the
// connection that read them is gone.
func TestBrokenTracking(t *testing.T) {
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	p := newCached(t, proxy.Addr, patience)
	p.admin = newAdmin(t, server.Addr)
	for round := range 5 {
		p.put(t, 1)
		p.await(t, 1)
		if err := p.admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			t.Fatal(err)
		}
		p.put(t, 100+round)
		if took := p.await(t, int64(100+round)); took > 50*time.Millisecond+slack {
			t.Errorf("a change while there were no connections took effect after %s", took)
		}
	}
}

// TestNothingFromMemoryWhileSilent checks that the cache is not used while Redis is
// silent, because records may have changed.
func TestNothingFromMemoryWhileSilent(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newCached(t, server.Addr, budget)
	p.put(t, 1)
	p.await(t, 1)
	server.Pause()
	_, err := p.counter.Count(t.Context(), apiKey, 1)
	storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
	for range 10 {
		_, err := p.records.Lookup(t.Context(), apiKey)
		storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
	}
	server.Resume()
	awaitRecovery(t, p)
}

// TestFailover checks that records of the previous server are not served from memory.
func TestFailover(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newCached(t, server.Addr, budget)
	p.put(t, 1)
	p.await(t, 1)
	server.Restart() // empty
	awaitRecovery(t, p)
	if got := p.limit(t); got != -1 {
		t.Errorf("the record of the previous server was found: limit %d", got)
	}
	p.put(t, 2)
	p.await(t, 2)
}

// TestWithoutTracking checks that each record is read from Redis if the server does
// not support tracking, or if the database is not 0.
func TestWithoutTracking(t *testing.T) {
	check := func(p ports, replace func(limit int)) {
		t.Helper()
		for limit := range 20 {
			replace(limit)
			if got := p.limit(t); got != int64(limit) {
				t.Fatalf("limit %d, want %d", got, limit)
			}
		}
		if stats := p.client.Stats(); stats.CacheHits+uint64(stats.CacheEntries) > 0 {
			t.Errorf("records were served from memory: %+v", stats)
		}
	}
	mini := newCached(t, miniredis.RunT(t).Addr(), patience)
	check(mini, func(limit int) { mini.put(t, limit) })

	o := options(storetest.StartRedis(t).Addr, patience)
	o.ClientSideCache, o.DB = true, 5
	other := newPorts(t, o)
	if err := other.client.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(other, func(limit int) {
		record := storetest.Record(apiKey, int64(limit), time.Now().Add(time.Hour), "/a")
		pipe := other.admin.Pipeline()
		pipe.Select(t.Context(), o.DB)
		pipe.Set(t.Context(), redisstore.RecordPrefix+apiKey, record, 0)
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestManyRecords checks that no call of a thousand callers fails if there are more
// records than the cache holds, or while all are flushed.
func TestManyRecords(t *testing.T) {
	const records, callers = 100_000, 1024
	server := storetest.StartRedis(t)
	p := newCached(t, server.Addr, budget)
	pipe := p.admin.Pipeline()
	for i := range records {
		key := "k" + strconv.Itoa(i)
		pipe.Set(t.Context(), redisstore.RecordPrefix+key, storetest.Record(key, 1, time.Now().Add(time.Hour), "/a"), 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var failed, found, unknown, slowest atomic.Int64
	deadline := time.Now().Add(3 * time.Second)
	for caller := range callers {
		running.Go(func() {
			for i := caller; time.Now().Before(deadline); i += 7919 {
				began := time.Now()
				token, err := p.records.Lookup(t.Context(), "k"+strconv.Itoa(i%records))
				if took := int64(time.Since(began)); took > slowest.Load() {
					slowest.Store(took)
				}
				switch {
				case token != nil:
					found.Add(1)
				case fmt.Sprint(err) == middleware.ErrTokenUnknown.Error():
					unknown.Add(1)
				default:
					failed.Add(1)
					storetest.CheckError(t, err, nil, "k"+strconv.Itoa(i%records))
				}
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	p.admin.FlushAll(t.Context())
	running.Wait()
	t.Logf("%d found, %d unknown after the flush, slowest %s", found.Load(), unknown.Load(), time.Duration(slowest.Load()))
	if failed.Load() > 0 || found.Load() == 0 || unknown.Load() == 0 {
		t.Errorf("%d failed, %d found, %d unknown", failed.Load(), found.Load(), unknown.Load())
	}
}
