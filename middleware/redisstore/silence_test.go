package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// answer is the result of one call of both ports.
type answer struct {
	began time.Time
	took  time.Duration
	err   error
}

// load makes callers use both ports until stop is called. stop returns their
// answers in the order of their starts.
func (p ports) load(t *testing.T, callers int) (stop func() []answer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	each := make([][]answer, callers)
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				countErr, lookupErr := p.use(context.Background())
				each[i] = append(each[i], answer{began, time.Since(began), errors.Join(countErr, lookupErr)})
				if each[i][len(each[i])-1].err != nil {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	return func() []answer {
		cancel()
		running.Wait()
		all := slices.Concat(each...)
		slices.SortFunc(all, func(a, b answer) int { return a.began.Compare(b.began) })
		return all
	}
}

// outage has what callers observed of an outage.
type outage struct {
	slowest  time.Duration // answer of all
	known    time.Duration // slowest answer to calls that started 150 ms after its beginning
	back     time.Duration // from the return of Redis to the last failure
	failures int
}

func seen(answers []answer, began, returned time.Time) outage {
	var o outage
	for _, a := range answers {
		o.slowest = max(o.slowest, a.took)
		if a.err != nil {
			o.failures++
			o.back = max(o.back, a.began.Add(a.took).Sub(returned))
			if a.began.After(began.Add(150*time.Millisecond)) && a.began.Before(returned) {
				o.known = max(o.known, a.took)
			}
		}
	}
	return o
}

// TestOutages checks the times of an outage: waiting callers get an error about
// when the timeout passes, later ones at once, and calls succeed soon after Redis
// is back. On an idle machine the slowest answer takes 110 ms, later ones less
// than 1 ms, and the return is noticed within 30 ms.
func TestOutages(t *testing.T) {
	for name, away := range map[string]func(*storetest.Server){
		"stopped":   func(s *storetest.Server) { s.Pause(); time.Sleep(2 * time.Second); s.Resume() },
		"restarted": func(s *storetest.Server) { s.Stop(); time.Sleep(time.Second); s.Restart() },
		"busy": func(s *storetest.Server) {
			busy := newAdmin(t, s.Addr)
			_ = busy.Eval(context.Background(), "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 2 do end", nil).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			server := storetest.StartRedis(t)
			o := options(server.Addr, budget)
			o.ClientSideCache = name != "busy"
			o.Changed = func(reason error) {
				if reason != nil {
					told = append(told, "silent")
					return
				}
				told = append(told, "answers")
			}
			p := newPorts(t, o)
			if err := p.client.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop := p.load(t, 32)
			time.Sleep(200 * time.Millisecond)
			began := time.Now()
			away(server)
			returned := time.Now()
			time.Sleep(time.Second)
			answers := stop()
			saw := seen(answers, began, returned)
			t.Logf("%+v of %d", saw, len(answers))
			if saw.slowest > budget+slack || saw.known > 50*time.Millisecond || saw.back > 500*time.Millisecond {
				t.Errorf("%+v", saw)
			}
			if saw.failures == 0 {
				t.Error("no call failed")
			}
			if err := p.client.Close(); err != nil { // ends the calls of Changed
				t.Fatal(err)
			}
			if !slices.Equal(told, []string{"silent", "answers"}) || p.client.Stats().Changes != 2 {
				t.Errorf("Changed was called with %q, Stats counted %d changes", told, p.client.Stats().Changes)
			}
		})
	}
}

// TestManyCallers checks that no call fails on a healthy Redis, however many wait,
// and whether or not the connection is open.
func TestManyCallers(t *testing.T) {
	server := storetest.StartRedis(t)
	for _, callers := range []int{64, 1024, 2048} {
		p := newPorts(t, options(server.Addr, budget))
		var failed, answered atomic.Int64
		var running sync.WaitGroup
		deadline := time.Now().Add(time.Second)
		for range callers {
			running.Go(func() {
				for time.Now().Before(deadline) {
					countErr, lookupErr := p.use(t.Context())
					if errors.Join(countErr, lookupErr) != nil {
						failed.Add(1)
					}
					answered.Add(1)
				}
			})
		}
		running.Wait()
		stats := p.client.Stats()
		t.Logf("%d callers: %d answers, %d commands in %d batches", callers, answered.Load(), stats.Commands, stats.Batches)
		if failed.Load() > 0 {
			t.Errorf("%d of %d failed", failed.Load(), answered.Load())
		}
	}
}

// TestOverload checks that commands beyond the queue's length are refused at once
// as an overload, and that the others wait.
func TestOverload(t *testing.T) {
	const callers, bound = 400, 100
	server := storetest.StartRedis(t)
	proxy := storetest.StartProxy(t, server.Addr)
	o := options(proxy.Addr, patience)
	o.MaxQueued = bound
	p := newPorts(t, o)
	p.warm(t)
	proxy.Delay(200 * time.Millisecond)
	var overloaded, late atomic.Int64
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			began := time.Now()
			_, err := p.counter.Count(t.Context(), apiKey, unlimited)
			if err == nil {
				return
			}
			storetest.CheckError(t, err, middleware.ErrOverloaded, apiKey)
			if errors.Is(err, middleware.ErrUnavailable) {
				t.Error("the error is both ErrOverloaded and ErrUnavailable")
			}
			overloaded.Add(1)
			if time.Since(began) > 100*time.Millisecond {
				late.Add(1)
			}
		})
	}
	running.Wait()
	if n := overloaded.Load(); n != callers-bound || late.Load() > 0 {
		t.Errorf("%d of %d refused, want %d; %d of them late", n, callers, callers-bound, late.Load())
	}
	if stats := p.client.Stats(); stats.Refused != callers-bound || stats.Changes != 0 || stats.Silent {
		t.Errorf("%+v", stats)
	}
}

// TestOpenWithoutRedis checks that Open returns an error without Redis, that calls
// then fail at once, and that they succeed as soon as Redis is up.
func TestOpenWithoutRedis(t *testing.T) {
	server := storetest.StartRedis(t)
	server.Stop()
	p := newPorts(t, options(server.Addr, budget))
	storetest.CheckError(t, p.client.Open(t.Context()), middleware.ErrUnavailable, apiKey)
	storetest.CheckError(t, p.client.Available(), middleware.ErrUnavailable, apiKey)
	began := time.Now()
	countErr, lookupErr := p.use(t.Context())
	storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
	storetest.CheckError(t, lookupErr, middleware.ErrUnavailable, apiKey)
	if took := time.Since(began); took > 50*time.Millisecond {
		t.Errorf("Open took %s", took)
	}
	server.Restart()
	awaitRecovery(t, p)
	if err := p.client.Available(); err != nil {
		t.Error(err)
	}
}

// TestProbeAccess checks that rights on the two prefixes are enough for probes.
func TestProbeAccess(t *testing.T) {
	server := storetest.StartRedis(t)
	if err := newAdmin(t, server.Addr).Do(t.Context(), "ACL", "SETUSER", "gateway", "on", ">secret-of-a-test",
		"~"+redisstore.RecordPrefix+"*", "~"+redisstore.CounterPrefix+"*", "+getrange", "+evalsha", "+eval", "+time", "+incr", "+pexpire",
	).Err(); err != nil {
		t.Fatal(err)
	}
	o := options(server.Addr, patience)
	o.Username, o.Password, o.ClientSideCache = "gateway", "secret-of-a-test", true
	p := newPorts(t, o)
	if err := p.client.Open(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.client.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	p.warm(t)
	if middleware.ValidAPIKey("/probe") {
		t.Error("an api key may contain the name of a probe's key")
	}
}
