package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// witness is an instrument and a hook that record their calls.
type witness struct {
	mu       sync.Mutex
	commands []string // reported to the instrument
	hooked   []string // passed to the hook, with their request
}

type requestKey struct{}

func (*witness) Traced(ctx context.Context) bool { return ctx.Value(requestKey{}) != nil }

func (w *witness) Command(_ context.Context, name string, started time.Time, elapsed time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := "ok"
	switch {
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		kind = "NOSCRIPT"
	case err != nil:
		kind = "failed"
	}
	if elapsed < 0 || time.Since(started) > patience {
		kind = "at no time"
	}
	w.commands = append(w.commands, name+" "+kind)
}

func (*witness) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*witness) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *witness) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		w.mu.Lock()
		defer w.mu.Unlock()
		request, _ := ctx.Value(requestKey{}).(string)
		w.hooked = append(w.hooked, request+" "+cmd.Name())
		if !errors.Is(cmd.Err(), err) || err == nil && strings.HasSuffix(cmd.String(), ": []") {
			w.hooked = append(w.hooked, "another result: "+cmd.String())
		}
		return err
	}
}

func (w *witness) take() (commands, hooked []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	commands, hooked = w.commands, w.hooked
	w.commands, w.hooked = nil, nil
	return commands, hooked
}

// TestInstrument checks that every command is reported once, and that commands of a
// traced request also pass the hooks, in the request's context, and use the same
// connection.
func TestInstrument(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newPorts(t, options(server.Addr, patience))
	w := &witness{}
	p.client.Traced().AddHook(w)
	p.client.SetInstrument(w)
	traced := context.WithValue(t.Context(), requestKey{}, "r")
	for _, step := range []struct {
		ctx              context.Context
		commands, hooked []string
	}{
		{traced, []string{"EVALSHA NOSCRIPT", "EVAL ok", "GETRANGE ok"}, []string{"r evalsha", "r eval", "r getrange"}},
		{traced, []string{"EVALSHA ok", "GETRANGE ok"}, []string{"r evalsha", "r getrange"}},
		{t.Context(), []string{"EVALSHA ok", "GETRANGE ok"}, nil},
	} {
		if countErr, lookupErr := p.use(step.ctx); errors.Join(countErr, lookupErr) != nil {
			t.Fatal(countErr, lookupErr)
		}
		commands, hooked := w.take()
		if !slices.Equal(commands, step.commands) || !slices.Equal(hooked, step.hooked) {
			t.Errorf("reported %q and hooked %q, want %q and %q", commands, hooked, step.commands, step.hooked)
		}
	}
	if n := p.client.Traced().PoolStats().TotalConns; n != 0 {
		t.Errorf("the traced client has %d connections, want 0", n)
	}
	if clients := info(t, p.admin, "total_connections_received"); clients != 3 { // StartRedis', the admin's, ours
		t.Errorf("%d connections, want 3", clients)
	}
}

// TestInstrumentAndMemory checks that a lookup from memory is not reported as a
// command, and that traced requests fill the cache.
func TestInstrumentAndMemory(t *testing.T) {
	for name, ctx := range map[string]context.Context{
		"plain": t.Context(), "traced": context.WithValue(t.Context(), requestKey{}, "r"),
	} {
		p := newCached(t, storetest.StartRedis(t).Addr, patience)
		w := &witness{}
		p.client.Traced().AddHook(w)
		p.client.SetInstrument(w)
		p.put(t, 1)
		for range 20 { // MaxStaleness may pass
			if _, err := p.records.Lookup(ctx, apiKey); err != nil {
				storetest.CheckError(t, err, nil, apiKey)
			}
		}
		commands, hooked := w.take()
		if n := len(commands); n < 1 || n > 3 || name == "traced" && len(hooked) != n {
			t.Errorf("%s: reported %q, hooked %q", name, commands, hooked)
		}
	}
}

// TestTracedOutage checks that commands of traced requests fail like others. Under
// the race detector it also checks that they are not read after their caller
// stopped waiting.
func TestTracedOutage(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newPorts(t, options(server.Addr, budget))
	w := &witness{}
	p.client.Traced().AddHook(w)
	p.client.SetInstrument(w)
	p.warm(t)
	server.Pause()
	ctx := context.WithValue(t.Context(), requestKey{}, "r")
	if failed := concurrently(t, 50, p.count(ctx)); failed != 50 {
		t.Errorf("%d of 50 failed, want 50", failed)
	}
	_, err := p.records.Lookup(ctx, apiKey)
	storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
	server.Resume()
	awaitRecovery(t, p)
}

var _ redisstore.Instrument = (*witness)(nil)
