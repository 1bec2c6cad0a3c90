package redisstore_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// spender is a counter on miniredis; the test controls both clocks.
type spender struct {
	*redisstore.Counter

	t       *testing.T
	advance func(time.Duration)
	forget  func() // deletes all counters
}

func newSpender(t *testing.T, window time.Duration) spender {
	t.Helper()
	clock := storetest.NewClock(time.Unix(1_800_000_000, 0))
	mini := startMini(t, clock)
	client := newClient(t, options(mini.Addr(), patience))
	return spender{redisstore.NewCounter(client, window, clock.Now), t, advance(mini, clock), mini.FlushAll}
}

// use counts one request and checks the source of the quota and whether the request
// is within its limit.
func (s spender) use(limit int64, source string, within bool) middleware.Quota {
	s.t.Helper()
	quota, err := s.Count(s.t.Context(), apiKey, limit)
	storetest.CheckError(s.t, err, nil, apiKey)
	if quota.Source != source || (quota.Used <= limit) != within {
		s.t.Errorf("count %d of %d from %s, want it from %s and within the limit: %t", quota.Used, limit, quota.Source, source, within)
	}
	return quota
}

// TestRefusedFromMemory checks that a key which used up its window is refused
// without Redis until the window ends, its limit changes or a second has passed.
func TestRefusedFromMemory(t *testing.T) {
	const window = 10 * time.Second
	spend := func(t *testing.T) spender {
		s := newSpender(t, window)
		s.use(2, middleware.SourceRedis, true)
		s.use(2, middleware.SourceRedis, true)
		s.use(2, middleware.SourceMemory, false)
		return s
	}
	t.Run("quota", func(t *testing.T) {
		s := spend(t)
		s.advance(300 * time.Millisecond)
		quota := s.use(2, middleware.SourceMemory, false)
		if quota.Reset != window-300*time.Millisecond || !quota.ResetAt.Equal(time.Unix(1_800_000_010, 0)) || quota.Window != window {
			t.Errorf("%+v", quota)
		}
	})
	t.Run("a second later", func(t *testing.T) {
		s := spend(t)
		s.advance(999 * time.Millisecond)
		s.use(2, middleware.SourceMemory, false)
		s.advance(time.Millisecond)
		s.use(2, middleware.SourceRedis, false)
		s.use(2, middleware.SourceMemory, false)
	})
	t.Run("another limit", func(t *testing.T) {
		s := spend(t)
		s.use(3, middleware.SourceRedis, true)
		s.use(3, middleware.SourceMemory, false)
		s.use(2, middleware.SourceRedis, false) // lowered again
		s.use(5, middleware.SourceRedis, true)
	})
	t.Run("window's end", func(t *testing.T) {
		s := newSpender(t, window)
		s.advance(window - 400*time.Millisecond)
		s.use(1, middleware.SourceRedis, true)
		s.use(1, middleware.SourceMemory, false)
		s.advance(399 * time.Millisecond)
		s.use(1, middleware.SourceMemory, false)
		s.advance(time.Millisecond)
		s.use(1, middleware.SourceRedis, true)
	})
	t.Run("counters deleted", func(t *testing.T) {
		s := spend(t)
		s.forget()
		s.use(2, middleware.SourceMemory, false)
		s.advance(time.Second)
		s.use(2, middleware.SourceRedis, true)
	})
}

// TestNotRefusedFromMemoryInTheNextWindow checks that no gateway refuses a key in a
// window in which it has requests left, even if the gateway's clock is wrong.
func TestNotRefusedFromMemoryInTheNextWindow(t *testing.T) {
	const limit = 3
	counters := shifted(t, storetest.StartRedis(t).Addr, 4, time.Second, 2*time.Second)
	var mu sync.Mutex
	admitted := map[time.Time]int{}
	var callers sync.WaitGroup
	deadline := time.Now().Add(4 * time.Second)
	for _, counter := range counters {
		callers.Go(func() {
			for time.Now().Before(deadline) {
				quota, err := counter.Count(t.Context(), apiKey, limit)
				storetest.CheckError(t, err, nil, apiKey)
				if quota.Used <= limit {
					mu.Lock()
					admitted[quota.ResetAt]++
					mu.Unlock()
				}
			}
		})
	}
	callers.Wait()
	if len(admitted) < 4 {
		t.Errorf("requests were admitted in %d windows", len(admitted))
	}
	for end, n := range admitted {
		if n != limit {
			t.Errorf("%d admitted in the window until %s, want %d", n, end, limit)
		}
	}
}

// TestParsedAgain checks that a record is parsed again if its text has changed, and
// that errors are not cached.
func TestParsedAgain(t *testing.T) {
	p := newPorts(t, options(storetest.StartRedis(t).Addr, patience))
	for _, limit := range []int{1, 1, 2, 1, 2, 2} {
		p.put(t, limit)
		first := p.limit(t)
		if again := p.limit(t); first != int64(limit) || again != first {
			t.Errorf("limits %d and %d, want %d", first, again, limit)
		}
	}
	for _, text := range []string{"", "{}", strings.Repeat("x", middleware.MaxRecordSize+1)} {
		if err := p.admin.Set(t.Context(), redisstore.RecordPrefix+apiKey, text, 0).Err(); err != nil {
			t.Fatal(err)
		}
		want := middleware.ErrRecordInvalid
		if text == "" {
			want = middleware.ErrTokenUnknown
		}
		_, err := p.records.Lookup(t.Context(), apiKey)
		storetest.CheckError(t, err, want, apiKey)
	}
	p.put(t, 3)
	if got := p.limit(t); got != 3 {
		t.Errorf("limit %d after an invalid record, want 3", got)
	}
}
