package storetest

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"tyk_proxy/middleware"
)

// CounterFixture is a counter under test and the means to change its conditions.
type CounterFixture struct {
	Counter       middleware.Counter
	Window        time.Duration
	Advance       func(time.Duration) // lets at least that much time pass
	Fail, Recover func()              // begin and end an outage, which may lose the counts
}

// unlimited is a limit that no test reaches.
const unlimited = math.MaxInt64

// RunCounter checks that a counter follows the contract of [middleware.Counter].
// The factory returns a new one without counts for each call.
func RunCounter(t *testing.T, factory func(testing.TB) CounterFixture) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, CounterFixture){
		"counts":        counterCounts,
		"boundary":      counterBoundary,
		"used up":       counterUsedUp,
		"outage":        counterOutage,
		"caller leaves": counterCallerLeaves,
		"concurrency":   counterConcurrency,
	} {
		t.Run(name, func(t *testing.T) { test(t, factory(t)) })
	}
}

func count(t *testing.T, b CounterFixture, apiKey string) middleware.Quota {
	t.Helper()
	quota, err := b.Counter.Count(t.Context(), apiKey, unlimited)
	if err != nil {
		CheckError(t, err, nil, apiKey)
		t.Fatal("the request was not counted")
	}
	checkQuota(t, b, unlimited, quota)
	return quota
}

func checkQuota(t *testing.T, b CounterFixture, limit int64, quota middleware.Quota) {
	t.Helper()
	if quota.Limit != limit {
		t.Errorf("limit is %d, want %d", quota.Limit, limit)
	}
	if quota.Window != b.Window {
		t.Errorf("window is %s, want %s", quota.Window, b.Window)
	}
	if quota.Reset <= 0 || quota.Reset > b.Window {
		t.Errorf("reset in %s, want more than 0 and at most the window of %s", quota.Reset, b.Window)
	}
	if quota.ResetAt.Unix()%int64(b.Window/time.Second) != 0 || quota.ResetAt.Nanosecond() != 0 {
		t.Errorf("the end %s is not a multiple of the window of %s", quota.ResetAt, b.Window)
	}
}

// freshWindow waits until a window begins, so that the test fits into it.
func freshWindow(t *testing.T, b CounterFixture) {
	t.Helper()
	b.Advance(count(t, b, "another-key").Reset)
}

func counterCounts(t *testing.T, b CounterFixture) {
	freshWindow(t, b)
	first := count(t, b, suiteKey)
	for want := int64(2); want <= 5; want++ {
		quota := count(t, b, suiteKey)
		if quota.Used != want || !quota.ResetAt.Equal(first.ResetAt) {
			t.Errorf("count is %d until %s, want %d until %s", quota.Used, quota.ResetAt, want, first.ResetAt)
		}
		if quota.Reset > first.Reset {
			t.Errorf("reset in %s, want at most the earlier %s", quota.Reset, first.Reset)
		}
	}
	for _, neighbour := range []string{suiteKey + "0", suiteKey[1:], "another"} {
		if quota := count(t, b, neighbour); quota.Used != 1 {
			t.Errorf("another key's count is %d, want 1", quota.Used)
		}
	}
	if quota := count(t, b, suiteKey); quota.Used != 6 {
		t.Errorf("count is %d after others were counted, want 6", quota.Used)
	}
}

func counterBoundary(t *testing.T, b CounterFixture) {
	freshWindow(t, b)
	first := count(t, b, suiteKey)
	b.Advance(b.Window / 2)
	second := count(t, b, suiteKey)
	if second.Used != 2 || !second.ResetAt.Equal(first.ResetAt) {
		t.Errorf("count is %d until %s in mid-window, want 2 until %s", second.Used, second.ResetAt, first.ResetAt)
	}
	b.Advance(second.Reset)
	third := count(t, b, suiteKey)
	if want := first.ResetAt.Add(b.Window); third.Used != 1 || !third.ResetAt.Equal(want) {
		t.Errorf("count is %d until %s in the next window, want 1 until %s", third.Used, third.ResetAt, want)
	}
	b.Advance(3 * b.Window)
	if quota := count(t, b, suiteKey); quota.Used != 1 {
		t.Errorf("count is %d after idle windows, want 1", quota.Used)
	}
}

// counterUsedUp checks that the counts beyond the limit exceed it, until the
// window ends or the limit changes.
func counterUsedUp(t *testing.T, b CounterFixture) {
	const limit = 2
	freshWindow(t, b)
	use := func(limit int64) middleware.Quota {
		t.Helper()
		quota, err := b.Counter.Count(t.Context(), suiteKey, limit)
		CheckError(t, err, nil, suiteKey)
		checkQuota(t, b, limit, quota)
		return quota
	}
	for want := int64(1); want <= limit; want++ {
		if quota := use(limit); quota.Used != want {
			t.Errorf("count is %d inside the limit, want %d", quota.Used, want)
		}
	}
	var last middleware.Quota
	for range 5 {
		if last = use(limit); last.Used <= limit {
			t.Errorf("count is %d beyond the limit of %d", last.Used, limit)
		}
	}
	if quota := use(unlimited); quota.Used < limit+1 || quota.Used > limit+6 || quota.Source != middleware.SourceRedis {
		t.Errorf("with a higher limit the count is %d from %s", quota.Used, quota.Source)
	}
	if quota := count(t, b, suiteKey+"0"); quota.Used != 1 {
		t.Errorf("another key's count is %d, want 1", quota.Used)
	}
	b.Advance(use(limit).Reset)
	if quota := use(limit); quota.Used != 1 || !quota.ResetAt.Equal(last.ResetAt.Add(b.Window)) {
		t.Errorf("count is %d until %s in the next window, want 1 until %s", quota.Used, quota.ResetAt, last.ResetAt.Add(b.Window))
	}
}

func counterOutage(t *testing.T, b CounterFixture) {
	count(t, b, suiteKey)
	b.Fail()
	for range 20 { // more than the connections of any pool
		quota, err := b.Counter.Count(t.Context(), suiteKey, unlimited)
		CheckError(t, err, middleware.ErrUnavailable, suiteKey)
		if quota != (middleware.Quota{}) {
			t.Errorf("a quota was returned with the error: %+v", quota)
		}
	}
	b.Recover()
	await(t, func() error {
		_, err := b.Counter.Count(t.Context(), suiteKey, unlimited)
		return err
	})
}

// counterCallerLeaves checks that a request is counted even if its context is
// cancelled.
func counterCallerLeaves(t *testing.T, b CounterFixture) {
	freshWindow(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Counter.Count(ctx, suiteKey, unlimited)
	CheckError(t, err, nil, suiteKey)
	if quota := count(t, b, suiteKey); quota.Used != 2 {
		t.Errorf("count is %d, want 2", quota.Used)
	}
}

func counterConcurrency(t *testing.T, b CounterFixture) {
	const callers, each = 8, 25
	var tally Tally
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for range each {
				quota, err := b.Counter.Count(t.Context(), suiteKey, unlimited)
				CheckError(t, err, nil, suiteKey)
				tally.Add(quota)
			}
		})
	}
	running.Wait()
	if err := tally.Check(callers * each); err != nil {
		t.Error(err)
	}
}

// Tally collects the quotas that concurrent callers of one key got. It is safe
// for concurrent use.
type Tally struct {
	mu      sync.Mutex
	windows map[int64]map[int64]int // end of the window, count, how often it occurred
}

// Add adds one quota.
func (a *Tally) Add(quota middleware.Quota) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.windows == nil {
		a.windows = make(map[int64]map[int64]int)
	}
	end := quota.ResetAt.Unix()
	if a.windows[end] == nil {
		a.windows[end] = make(map[int64]int)
	}
	a.windows[end][quota.Used]++
}

// Windows returns the number of windows that the quotas belong to.
func (a *Tally) Windows() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.windows)
}

// Check returns an error unless there are total quotas and the counts of each
// window are 1, 2, 3 and so on, each exactly once: then no limit is exceeded.
func (a *Tally) Check(total int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	answers := 0
	for end, counts := range a.windows {
		for count := int64(1); count <= int64(len(counts)); count++ {
			if counts[count] != 1 {
				return fmt.Errorf("in the window that ends at %d, count %d of %d occurs %d times",
					end, count, len(counts), counts[count])
			}
			answers++
		}
	}
	if answers != total {
		return fmt.Errorf("%d requests were counted, want %d", answers, total)
	}
	return nil
}
