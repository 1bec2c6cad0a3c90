package redisstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The keys that a probe uses. They have the prefixes of the others, so that an
// access list for those is enough; no api key contains a slash.
const (
	probeRecord  = RecordPrefix + "/probe"
	probeCounter = CounterPrefix + "/probe:0"
)

// probeWindow is so long, in seconds, that there is only the one that began in
// 1970: the script always counts, and so shows whether Redis can be written to.
const probeWindow = int64(1) << 40

// prober asks Redis, over connections of its own, what requests ask: a Redis
// may answer PING and nothing else. It is safe for concurrent use.
type prober struct {
	options *redis.Options
	script  windowScript
	budget  time.Duration // for a probe that may have to connect first
	client  atomic.Pointer[redis.Client]
}

func newProber(o Options) *prober {
	base := o.base()
	base.PoolSize = 2 // the one that ends a silence, and readiness
	base.PipelinePoolSize = -1
	base.ContextTimeoutEnabled = true
	base.ReadTimeout, base.WriteTimeout = mostPatience, mostPatience
	base.PoolTimeout = mostPatience
	p := &prober{options: base, script: newWindowScript(), budget: o.DialTimeout + 2*o.Timeout}
	p.client.Store(redis.NewClient(base))
	return p
}

// ask returns nil, an error reply, or why there was no answer. It asks a second
// time where the connection had died unnoticed.
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

// replace makes a new client in place of one that failed: go-redis gives a
// server that refused connections a second of rest.
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
		_, err = p.script.run(ctx, client.Process, probeCounter, 0, probeWindow, time.Second)
	}
	return err
}

func (p *prober) close() { _ = p.client.Load().Close() } // nothing is buffered
