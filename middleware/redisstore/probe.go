package redisstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The keys of a probe. They have the prefixes of other keys, so that an access
// list for these prefixes suffices. No api key contains a slash.
const (
	probeRecord  = RecordPrefix + "/probe"
	probeCounter = CounterPrefix + "/probe:0"
)

// probeWindow is so long, in seconds, that the current window began in 1970. So
// the script always counts, and a probe fails if Redis cannot be written to.
const probeWindow = int64(1) << 40

// prober runs the commands of requests over connections of its own, because a
// Redis that answers PING may refuse everything else. It is safe for concurrent
// use.
type prober struct {
	options *redis.Options
	script  windowScript
	budget  time.Duration // for a probe that has to connect first
	client  atomic.Pointer[redis.Client]
}

func newProber(o Options) *prober {
	base := o.base()
	base.PoolSize = 2 // one for a silence, one for readiness
	base.PipelinePoolSize = -1
	base.ContextTimeoutEnabled = true
	base.ReadTimeout, base.WriteTimeout = mostPatience, mostPatience
	base.PoolTimeout = mostPatience
	p := &prober{options: base, script: newWindowScript(), budget: o.DialTimeout + 2*o.Timeout}
	p.client.Store(redis.NewClient(base))
	return p
}

// ask returns nil, an error reply, or why there was no answer. It tries again if
// the connection was broken.
func (p *prober) ask(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := p.client.Load()
	err := p.askOnce(ctx, client)
	if failed(err) && !timedOut(err) {
		client = p.replace(client)
		err = p.askOnce(ctx, client)
	}
	if failed(err) {
		p.replace(client)
	}
	return err
}

// replace replaces a client that failed: go-redis v9.23 makes no connection for a
// second after the server refused some.
func (p *prober) replace(failed *redis.Client) *redis.Client {
	fresh := redis.NewClient(p.options)
	if !p.client.CompareAndSwap(failed, fresh) {
		_ = fresh.Close() // it has no connections
		return p.client.Load()
	}
	_ = failed.Close() // nothing is buffered
	return fresh
}

func failed(err error) bool { return err != nil && !replied(err) }

func (p *prober) askOnce(ctx context.Context, client *redis.Client) error {
	err := client.Process(ctx, newGetRange(ctx, probeRecord, 1))
	if err == nil || redis.HasErrorPrefix(err, "WRONGTYPE") {
		if _, err = p.script.run(ctx, client.Process, probeCounter, 0, probeWindow, time.Second); err != nil {
			err = countError{err}
		}
	}
	return err
}

// countError is why the probe's script was not run.
type countError struct{ error }

// Unwrap returns the cause.
func (e countError) Unwrap() error { return e.error }

func (p *prober) close() { _ = p.client.Load().Close() } // nothing is buffered
