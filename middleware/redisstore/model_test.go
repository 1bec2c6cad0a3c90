package redisstore_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// TestCounterIsTheModel compares the script with the model in Go for random
// sequences of requests, time steps and wrong clocks.
func TestCounterIsTheModel(t *testing.T) {
	const sequences, steps = 40, 150
	memories := 0
	keys := []string{apiKey, "a", "a.b", "a-b", strings.Repeat("k", 128)}
	for range sequences {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		clock := storetest.NewClock(time.Unix(rng.Int64N(1<<32), rng.Int64N(1e6)*1000)) // TIME has microseconds
		mini := startMini(t, clock)
		window := time.Duration(1+rng.IntN(120)) * time.Second
		model := storetest.NewFake(window, clock.Now)
		ours := storetest.NewClock(clock.Now())
		earliest := ours.Now()
		counter := redisstore.NewCounter(newClient(t, options(mini.Addr(), patience)), window, ours.Now)
		for step := range steps {
			passed := passing(rng, window)
			advance(mini, clock)(passed)
			ours.Advance(passed)
			if rng.IntN(10) == 0 { // our clock is set
				// To a time that it has not shown yet: Go's clock is monotonic within
				// a process.
				jump := time.Duration(rng.Int64N(int64(2 * window)))
				if rng.IntN(2) == 0 {
					jump = earliest.Add(-jump - time.Minute).Sub(ours.Now())
				}
				ours.Advance(jump)
				if ours.Now().Before(earliest) {
					earliest = ours.Now()
				}
			}
			key, limit := keys[rng.IntN(len(keys))], rng.Int64N(6)
			got, err := counter.Count(t.Context(), key, limit)
			storetest.CheckError(t, err, nil, key)
			want, err := model.Quota(key, limit)
			if got.Source == middleware.SourceRedis {
				want, err = model.Count(t.Context(), key, limit)
			} else if memories++; want.Used >= limit && limit < got.Used && got.Used <= max(want.Used, limit+1) {
				want.Used, want.Source = got.Used, middleware.SourceMemory // not counted; the last known count
			}
			storetest.CheckError(t, err, nil, key)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, step %d: the script differs from the model (-want +got):\n%s", seed, step, diff)
			}
		}
		checkTTLs(t, mini.DB(0).Keys(), mini.DB(0).TTL, window)
		mini.Close()
	}
	if memories == 0 {
		t.Error("no request was refused from memory")
	}
}

// passing returns a time step: often none, often short, and sometimes one that
// ends exactly at a boundary or a microsecond before it.
func passing(rng *rand.Rand, window time.Duration) time.Duration {
	switch rng.IntN(6) {
	case 0, 1:
		return 0
	case 2:
		return time.Duration(rng.Int64N(1e6)) * time.Microsecond
	case 3:
		return time.Duration(rng.Int64N(int64(window/time.Microsecond))) * time.Microsecond
	case 4:
		return window - time.Microsecond
	default:
		return time.Duration(rng.IntN(3)) * window
	}
}

func checkTTLs(t *testing.T, keys []string, ttl func(string) time.Duration, window time.Duration) {
	t.Helper()
	for _, key := range keys {
		if left := ttl(key); left <= 0 || left > window+time.Second {
			t.Errorf("a counter lives for %s, want up to the window of %s and a second", left, window)
		}
	}
}

// TestCounterKey checks the name and the time to live of a counter.
func TestCounterKey(t *testing.T) {
	const window = time.Minute
	clock := storetest.NewClock(time.Unix(1_800_000_000+59, 0))
	mini := startMini(t, clock)
	counter := redisstore.NewCounter(newClient(t, options(mini.Addr(), patience)), window, clock.Now)
	key := counterKey(1_800_000_000)
	left := window + time.Second
	for range 3 {
		if _, err := counter.Count(t.Context(), apiKey, unlimited); err != nil {
			storetest.CheckError(t, err, nil, apiKey)
		}
		if keys := mini.Keys(); len(keys) != 1 || keys[0] != key {
			t.Fatal("the only key is not rate_count:<api_key>:<windowStart>")
		}
		if got := mini.TTL(key); got != left {
			t.Errorf("the time to live is %s, want %s, set by the first request only", got, left)
		}
		advance(mini, clock)(300 * time.Millisecond)
		left -= 300 * time.Millisecond
	}
	advance(mini, clock)(window + time.Second)
	if keys := mini.Keys(); len(keys) != 0 {
		t.Errorf("%d counters exist a second after their window", len(keys))
	}
}
