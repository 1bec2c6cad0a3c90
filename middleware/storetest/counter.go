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

// CounterBackend is a counter under test and what can be done behind its back.
type CounterBackend struct {
	Counter       middleware.Counter
	Window        time.Duration
	Advance       func(time.Duration) // lets at least that much time pass
	Fail, Recover func()              // begin and end an outage, which may lose the counts
}

// unlimited is a limit that no test reaches.
const unlimited = math.MaxInt64

// RunCounter checks that a counter keeps the contract of [middleware.Counter].
// The factory returns one without counts for every call.
func RunCounter(t *testing.T, factory func(testing.TB) CounterBackend) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, CounterBackend){
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

func count(t *testing.T, b CounterBackend, apiKey string) middleware.Usage {
	t.Helper()
	usage, err := b.Counter.Count(t.Context(), apiKey, unlimited)
	if err != nil {
		CheckError(t, err, nil, apiKey)
		t.Fatal("the request was not counted")
	}
	checkUsage(t, b, usage)
	return usage
}

func checkUsage(t *testing.T, b CounterBackend, usage middleware.Usage) {
	t.Helper()
	if usage.Window != b.Window {
		t.Errorf("window is %s, want %s", usage.Window, b.Window)
	}
	if usage.Reset <= 0 || usage.Reset > b.Window {
		t.Errorf("reset in %s, want it inside a window of %s", usage.Reset, b.Window)
	}
	if usage.End.Unix()%int64(b.Window/time.Second) != 0 || usage.End.Nanosecond() != 0 {
		t.Errorf("the end %s is not a multiple of the window of %s", usage.End, b.Window)
	}
}

// freshWindow waits for a window to begin, so that what follows fits into it.
func freshWindow(t *testing.T, b CounterBackend) {
	t.Helper()
	b.Advance(count(t, b, "only-to-ask-for-the-time").Reset)
}

func counterCounts(t *testing.T, b CounterBackend) {
	freshWindow(t, b)
	first := count(t, b, suiteKey)
	for want := int64(2); want <= 5; want++ {
		usage := count(t, b, suiteKey)
		if usage.Count != want || !usage.End.Equal(first.End) {
			t.Errorf("count is %d until %s, want %d until %s", usage.Count, usage.End, want, first.End)
		}
		if usage.Reset > first.Reset {
			t.Errorf("reset moved away: in %s, was in %s", usage.Reset, first.Reset)
		}
	}
	for _, neighbour := range []string{suiteKey + "0", suiteKey[1:], "another"} {
		if usage := count(t, b, neighbour); usage.Count != 1 {
			t.Errorf("another key's count is %d, want 1", usage.Count)
		}
	}
	if usage := count(t, b, suiteKey); usage.Count != 6 {
		t.Errorf("count is %d after others were counted, want 6", usage.Count)
	}
}

func counterBoundary(t *testing.T, b CounterBackend) {
	freshWindow(t, b)
	first := count(t, b, suiteKey)
	b.Advance(b.Window / 2)
	second := count(t, b, suiteKey)
	if second.Count != 2 || !second.End.Equal(first.End) {
		t.Errorf("count is %d until %s in mid-window, want 2 until %s", second.Count, second.End, first.End)
	}
	b.Advance(second.Reset)
	third := count(t, b, suiteKey)
	if want := first.End.Add(b.Window); third.Count != 1 || !third.End.Equal(want) {
		t.Errorf("count is %d until %s in the next window, want 1 until %s", third.Count, third.End, want)
	}
	b.Advance(3 * b.Window)
	if usage := count(t, b, suiteKey); usage.Count != 1 {
		t.Errorf("count is %d after idle windows, want 1", usage.Count)
	}
}

// counterUsedUp: what is beyond the limit is refused whether it is counted or
// not, until the window ends or the limit is another.
func counterUsedUp(t *testing.T, b CounterBackend) {
	const limit = 2
	freshWindow(t, b)
	use := func(limit int64) middleware.Usage {
		t.Helper()
		usage, err := b.Counter.Count(t.Context(), suiteKey, limit)
		CheckError(t, err, nil, suiteKey)
		checkUsage(t, b, usage)
		return usage
	}
	for want := int64(1); want <= limit; want++ {
		if usage := use(limit); usage.Count != want {
			t.Errorf("count is %d inside the limit, want %d", usage.Count, want)
		}
	}
	var last middleware.Usage
	for range 5 {
		if last = use(limit); last.Count <= limit {
			t.Errorf("count is %d beyond the limit of %d", last.Count, limit)
		}
	}
	if usage := use(unlimited); usage.Count < limit+1 || usage.Count > limit+6 || usage.Source != middleware.SourceRedis {
		t.Errorf("with a higher limit the count is %d from %s", usage.Count, usage.Source)
	}
	if usage := count(t, b, suiteKey+"0"); usage.Count != 1 {
		t.Errorf("another key's count is %d, want 1", usage.Count)
	}
	b.Advance(use(limit).Reset)
	if usage := use(limit); usage.Count != 1 || !usage.End.Equal(last.End.Add(b.Window)) {
		t.Errorf("count is %d until %s in the next window, want 1 until %s", usage.Count, usage.End, last.End.Add(b.Window))
	}
}

func counterOutage(t *testing.T, b CounterBackend) {
	count(t, b, suiteKey)
	b.Fail()
	for range 20 { // beyond any pool that still seemed healthy
		usage, err := b.Counter.Count(t.Context(), suiteKey, unlimited)
		CheckError(t, err, middleware.ErrUnavailable, suiteKey)
		if usage != (middleware.Usage{}) {
			t.Errorf("a usage came with the error: %+v", usage)
		}
	}
	b.Recover()
	await(t, func() error {
		_, err := b.Counter.Count(t.Context(), suiteKey, unlimited)
		return err
	})
}

// counterCallerLeaves: a request is counted though its client went away.
func counterCallerLeaves(t *testing.T, b CounterBackend) {
	freshWindow(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Counter.Count(ctx, suiteKey, unlimited)
	CheckError(t, err, nil, suiteKey)
	if usage := count(t, b, suiteKey); usage.Count != 2 {
		t.Errorf("count is %d, want 2", usage.Count)
	}
}

func counterConcurrency(t *testing.T, b CounterBackend) {
	const callers, each = 8, 25
	var tally Tally
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for range each {
				usage, err := b.Counter.Count(t.Context(), suiteKey, unlimited)
				CheckError(t, err, nil, suiteKey)
				tally.Add(usage)
			}
		})
	}
	running.Wait()
	if err := tally.Check(callers * each); err != nil {
		t.Error(err)
	}
}

// Tally collects what concurrent callers of one key were told. It is safe for
// concurrent use.
type Tally struct {
	mu      sync.Mutex
	windows map[int64]map[int64]int // end, count, how often it was given out
}

// Add notes one answer.
func (a *Tally) Add(usage middleware.Usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.windows == nil {
		a.windows = make(map[int64]map[int64]int)
	}
	end := usage.End.Unix()
	if a.windows[end] == nil {
		a.windows[end] = make(map[int64]int)
	}
	a.windows[end][usage.Count]++
}

// Windows returns how many windows the answers fell into.
func (a *Tally) Windows() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.windows)
}

// Check reports whether there were total answers and the counts of each window
// are 1, 2, 3 and so on, each given out once: then any limit is kept exactly.
func (a *Tally) Check(total int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	answers := 0
	for end, counts := range a.windows {
		for count := int64(1); count <= int64(len(counts)); count++ {
			if counts[count] != 1 {
				return fmt.Errorf("in the window that ends at %d, count %d of %d was given out %d times",
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
