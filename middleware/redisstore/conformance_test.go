package redisstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

func TestRecords(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		storetest.RunRecordStore(t, func(testing.TB) storetest.RecordFixture {
			clock := testClock()
			fake := storetest.NewFake(time.Minute, clock.Now)
			return storetest.RecordFixture{
				Store: fake, Put: fake.Put, PutUnreadable: fake.PutUnreadable, Delete: fake.Delete, Advance: clock.Advance,
				Fail:    func() { fake.Fail(errors.New("on purpose")) },
				Recover: func() { fake.Fail(nil) },
			}
		})
	})
	t.Run("miniredis", func(t *testing.T) {
		storetest.RunRecordStore(t, func(tb testing.TB) storetest.RecordFixture {
			clock := testClock()
			mini := startMini(tb, clock)
			backend := recordFixture(tb, mini.Addr())
			backend.Advance = advance(mini, clock)
			backend.Fail, backend.Recover = mini.Close, restart(tb, mini)
			return backend
		})
	})
	t.Run("redis", func(t *testing.T) {
		storetest.RunRecordStore(t, func(tb testing.TB) storetest.RecordFixture {
			server := storetest.StartRedis(tb)
			backend := recordFixture(tb, server.Addr)
			backend.Advance, backend.Fail, backend.Recover = time.Sleep, server.Stop, server.Restart
			return backend
		})
	})
}

// recordFixture reads through the gateway's client and writes through another one,
// as token-gen and operators do.
func recordFixture(tb testing.TB, addr string) storetest.RecordFixture {
	admin := redis.NewClient(&redis.Options{Addr: addr})
	tb.Cleanup(func() { admin.Close() })
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatalf("writing a record: %v", err)
		}
	}
	ctx := context.Background()
	return storetest.RecordFixture{
		Store: redisstore.NewRecords(newClient(tb, options(addr, patience))),
		Put: func(apiKey, record string, ttl time.Duration) {
			must(admin.Set(ctx, redisstore.RecordPrefix+apiKey, record, ttl).Err())
		},
		PutUnreadable: func(apiKey string) {
			must(admin.RPush(ctx, redisstore.RecordPrefix+apiKey, "not", "a", "record").Err())
		},
		Delete: func(apiKey string) { must(admin.Del(ctx, redisstore.RecordPrefix+apiKey).Err()) },
	}
}

func TestCounters(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		storetest.RunCounter(t, func(testing.TB) storetest.CounterFixture {
			clock := testClock()
			fake := storetest.NewFake(time.Minute, clock.Now)
			return storetest.CounterFixture{
				Counter: fake, Window: time.Minute, Advance: clock.Advance,
				Fail:    func() { fake.Fail(errors.New("on purpose")) },
				Recover: func() { fake.Fail(nil) },
			}
		})
	})
	t.Run("miniredis", func(t *testing.T) {
		storetest.RunCounter(t, func(tb testing.TB) storetest.CounterFixture {
			clock := testClock()
			mini := startMini(tb, clock)
			client := newClient(tb, options(mini.Addr(), patience))
			return storetest.CounterFixture{
				Counter: redisstore.NewCounter(client, time.Minute, clock.Now),
				Window:  time.Minute,
				Advance: advance(mini, clock),
				Fail:    mini.Close,
				Recover: restart(tb, mini),
			}
		})
	})
	t.Run("redis", func(t *testing.T) {
		storetest.RunCounter(t, func(tb testing.TB) storetest.CounterFixture {
			const window = time.Second
			server := storetest.StartRedis(tb)
			client := newClient(tb, options(server.Addr, patience))
			return storetest.CounterFixture{
				Counter: redisstore.NewCounter(client, window, nil),
				Window:  window,
				Advance: time.Sleep,
				Fail:    server.Stop,
				Recover: server.Restart,
			}
		})
	})
}

func advance(mini *miniredis.Miniredis, clock *storetest.Clock) func(time.Duration) {
	return func(d time.Duration) {
		clock.Advance(d)
		mini.SetTime(clock.Now())
	}
}

func restart(tb testing.TB, mini *miniredis.Miniredis) func() {
	return func() {
		if err := mini.Restart(); err != nil {
			tb.Fatalf("restarting miniredis: %v", err)
		}
	}
}

// TestProbe checks that Probe follows the state of Redis, and that PING is not
// enough for it.
func TestProbe(t *testing.T) {
	server := storetest.StartRedis(t)
	client := newClient(t, options(server.Addr, patience))
	if err := client.Probe(t.Context()); err != nil {
		t.Errorf("Redis answers, and Probe returned %v", err)
	}
	admin := newAdmin(t, server.Addr)
	for _, readOnly := range []string{"0", "10000"} { // min-replicas-to-write of a Redis without replicas
		if err := admin.ConfigSet(t.Context(), "min-replicas-to-write", readOnly).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Probe(t.Context()); (err == nil) != (readOnly == "0") {
			t.Errorf("with %s replicas needed to write, Probe returned %v", readOnly, err)
		}
	}
	server.Stop()
	storetest.CheckError(t, client.Probe(t.Context()), middleware.ErrUnavailable, apiKey)
	server.Restart()
	if err := client.Probe(t.Context()); err != nil {
		t.Errorf("Redis answers again, and Probe returned %v", err)
	}
}
