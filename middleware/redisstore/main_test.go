package redisstore_test

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// apiKey has the form of a minted one; it protects nothing.
const apiKey = "Zm9yLXRlc3RzLW9ubHkhIQ"

// patience is a timeout that only an outage exceeds, also on a busy machine.
const patience = 2 * time.Second

// unlimited is a limit that no test reaches.
const unlimited = int64(1) << 40

// slack is the delay that scheduling may add to a timeout.
const slack = 250 * time.Millisecond

func TestMain(m *testing.M) {
	// go-redis would log every failed dial of the tests.
	logging.Disable()
	os.Exit(m.Run())
}

// options returns options with one timeout for everything.
func options(addr string, budget time.Duration) redisstore.Options {
	return redisstore.Options{Addr: addr, DialTimeout: budget, Timeout: budget}
}

func newClient(tb testing.TB, o redisstore.Options) *redisstore.Client {
	tb.Helper()
	client := redisstore.NewClient(o)
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
	})
	return client
}

// newAdmin returns a client with which a test changes what the stores read.
func newAdmin(tb testing.TB, addr string) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	tb.Cleanup(func() { client.Close() })
	return client
}

// startMini starts a miniredis whose TTLs and TIME follow the clock.
func startMini(tb testing.TB, clock *storetest.Clock) *miniredis.Miniredis {
	tb.Helper()
	mini := miniredis.RunT(tb)
	mini.SetTime(clock.Now())
	mini.ClockTTL(true)
	return mini
}

func testClock() *storetest.Clock {
	return storetest.NewClock(time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC))
}

// info returns a number from the INFO of Redis.
func info(tb testing.TB, client *redis.Client, field string) int {
	tb.Helper()
	text, err := client.Info(context.Background(), "stats").Result()
	if err != nil {
		tb.Fatalf("INFO: %v", err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				tb.Fatalf("INFO: %s is %q", field, value)
			}
			return n
		}
	}
	tb.Fatalf("INFO has no %s", field)
	return 0
}

// counted returns the sum of a key's counters in all windows.
func counted(tb testing.TB, client *redis.Client) int {
	tb.Helper()
	keys, err := client.Keys(context.Background(), redisstore.CounterPrefix+"*").Result()
	if err != nil {
		tb.Fatalf("KEYS: %v", err)
	}
	sum := 0
	for _, key := range keys {
		if strings.Contains(key, "/probe") {
			continue
		}
		n, err := client.Get(context.Background(), key).Int()
		if err != nil {
			tb.Fatalf("reading a counter: %v", err)
		}
		sum += n
	}
	return sum
}

// counterKey returns the name of apiKey's counter.
func counterKey(windowStart int64) string {
	return "rate_count:" + apiKey + ":" + strconv.FormatInt(windowStart, 10)
}

// awaitWindow waits until Redis' clock is between from and until after the
// beginning of a window.
func awaitWindow(tb testing.TB, client *redis.Client, window, from, until time.Duration) {
	tb.Helper()
	for {
		now, err := client.Time(context.Background()).Result()
		if err != nil {
			tb.Fatalf("TIME: %v", err)
		}
		into := time.Duration(now.UnixNano() % int64(window))
		switch {
		case into < from:
			time.Sleep(from - into)
		case into > until:
			time.Sleep(window - into + from)
		default:
			return
		}
	}
}

// awaitGoroutines waits until there are no more goroutines than before, apart from
// a few that a pool may use to dial.
func awaitGoroutines(tb testing.TB, before int) {
	tb.Helper()
	const tolerated = 3
	now := 0
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now = runtime.NumGoroutine(); now <= before+tolerated {
			return
		}
	}
	tb.Errorf("%d goroutines, want at most a few more than %d", now, before)
}
