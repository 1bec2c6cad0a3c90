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

// newCached returns the ports of a gateway that keeps records in memory.
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

// put writes apiKey's record with a limit behind the gateway's back.
func (p ports) put(t *testing.T, limit int) {
	t.Helper()
	record := storetest.Record(apiKey, int64(limit), time.Now().Add(time.Hour), "/a")
	if err := p.admin.Set(t.Context(), redisstore.RecordPrefix+apiKey, record, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// limit returns the limit that the gateway finds for apiKey, or -1 where there is no record.
func (p ports) limit(t *testing.T) int64 {
	t.Helper()
	token, err := p.records.Lookup(t.Context(), apiKey)
	if err != nil {
		storetest.CheckError(t, err, middleware.ErrTokenUnknown, apiKey)
		return -1
	}
	return token.RateLimit
}

// await asks until the limit is the wanted one, and returns how long it took.
func (p ports) await(t *testing.T, want int64) time.Duration {
	t.Helper()
	for began := time.Now(); ; {
		got := p.limit(t)
		took := time.Since(began)
		if got == want {
			return took
		}
		if took > patience {
			t.Fatalf("the limit is %d after %s, want %d", got, took, want)
		}
	}
}

// TestRecordsFromMemory: a record is read once, and a change, a deletion, an
// expiry and a flush by somebody else take effect.
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
	// MaxStaleness may pass meanwhile; the other command is the INFO.
	if asked := info(t, p.admin, "total_commands_processed") - before - 1; asked > 3 {
		t.Errorf("1000 lookups asked Redis %d times", asked)
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

// staleness keeps readers busy while a record is written, and returns the
// greatest age of a value that one of them was given after it was replaced.
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
					t.Error("a record that was always there was not found")
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

// TestStaleness: with the processors full a change takes effect within 250 ms,
// and with some time left within 50 ms. On a quiet machine the greatest age was
// 60 and 8 ms.
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
			t.Errorf("%s: a reader was given a value that was replaced %s ago", name, got)
		}
	}
	if stats := p.client.Stats(); stats.CacheHits < 10*stats.CacheMisses {
		t.Errorf("the cache was not used: %+v", stats)
	}
}

// TestBrokenTracking: what a connection has read is not served once it is gone.
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
			t.Errorf("a change while the connections were gone took effect after %s", took)
		}
	}
}

// TestNothingFromMemoryWhileSilent: a Redis that does not answer is one that
// may have been changed.
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

// TestFailover: what the server before knew is gone with it.
func TestFailover(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newCached(t, server.Addr, budget)
	p.put(t, 1)
	p.await(t, 1)
	server.Restart() // empty
	awaitRecovery(t, p)
	if got := p.limit(t); got != -1 {
		t.Errorf("the record of the server before is found: limit %d", got)
	}
	p.put(t, 2)
	p.await(t, 2)
}

// TestWithoutTracking: a server that does not track, or another database, has
// each record read from it.
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
			t.Errorf("records are kept in memory: %+v", stats)
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

// TestManyRecords: more records than memory holds, and a flush of all, are no
// outage for a thousand callers.
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
