package telemetry

import (
	"context"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// sweepAge is when a request takes too long to wait for its end, and sweepEvery
// how often that is looked at.
const (
	sweepAge   = 5 * time.Second
	sweepEvery = time.Second
)

// keeperShards spreads the lock; a power of two.
const keeperShards = 16

// keeper is the span processor that holds each request's spans until the
// request has ended. The SDK's own processors export spans one by one, and drop
// those that the head sampler did not choose; a refused request at a low ratio
// would never be seen.
type keeper struct {
	sampler *sampler
	batcher *batcher
	shards  [keeperShards]keeperShard
}

type keeperShard struct {
	mu   sync.Mutex
	open map[trace.SpanID]*requestTrace // spans that have not ended
}

func newKeeper(s *sampler, b *batcher) *keeper {
	k := &keeper{sampler: s, batcher: b}
	for i := range k.shards {
		k.shards[i].open = make(map[trace.SpanID]*requestTrace)
	}
	return k
}

func (k *keeper) shard(id trace.SpanID) *keeperShard { return &k.shards[id[7]%keeperShards] }

// OnStart implements sdktrace.SpanProcessor.
func (k *keeper) OnStart(parent context.Context, span sdktrace.ReadWriteSpan) {
	t := requestTraceFrom(parent)
	if t == nil {
		return
	}
	id := span.SpanContext().SpanID()
	if span.SpanKind() == trace.SpanKindServer {
		t.mu.Lock()
		t.root, t.began, t.slot = id, span.StartTime(), true
		t.mu.Unlock()
		k.sampler.active.Add(1)
	}
	shard := k.shard(id)
	shard.mu.Lock()
	shard.open[id] = t
	shard.mu.Unlock()
}

// OnEnd implements sdktrace.SpanProcessor.
func (k *keeper) OnEnd(span sdktrace.ReadOnlySpan) {
	id := span.SpanContext().SpanID()
	shard := k.shard(id)
	shard.mu.Lock()
	t, ok := shard.open[id]
	delete(shard.open, id)
	shard.mu.Unlock()
	if !ok {
		return
	}
	if span.SpanKind() == trace.SpanKindServer {
		k.free(t)
	}
	ready, lost := t.add(span)
	k.batcher.enqueue(ready, lost)
}

// free gives back the room that a request's spans took.
func (k *keeper) free(t *requestTrace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slot {
		t.slot = false
		k.sampler.active.Add(-1)
	}
}

// sweep looks after requests that take long, such as streams, until the context
// ends. What they have recorded is exported or dropped, as if they had ended:
// it must neither fill the memory for hours nor be missed by who looks for it.
func (k *keeper) sweep(ctx context.Context, decided func(fate string)) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, t := range k.long(now) {
				k.settle(t, now, decided)
			}
		}
	}
}

// long returns the requests that are older than sweepAge.
func (k *keeper) long(now time.Time) map[trace.SpanID]*requestTrace {
	found := make(map[trace.SpanID]*requestTrace)
	for i := range k.shards {
		shard := &k.shards[i]
		shard.mu.Lock()
		for _, t := range shard.open {
			t.mu.Lock()
			if !t.ended && now.Sub(t.began) >= sweepAge {
				found[t.root] = t
			}
			t.mu.Unlock()
		}
		shard.mu.Unlock()
	}
	return found
}

// settle decides about a request before its end and hands on what it has. One
// that waits for its response is left alone: if it fails, it is to be kept as a
// failure. How long it waits is up to the proxy's timeout, and how many do is
// bounded by maxRecording.
func (k *keeper) settle(t *requestTrace, now time.Time, decided func(fate string)) {
	t.mu.Lock()
	if t.ended || t.counted {
		t.mu.Unlock()
		return
	}
	if !t.exported.Load() {
		d, ok := t.responding(now)
		if !ok || k.sampler.mayBecomeSlow(d.Elapsed) {
			t.mu.Unlock()
			return
		}
		fate := k.sampler.fate(true, false, d)
		t.counted = true
		t.exported.Store(fate == fateKept)
		decided(fate)
	}
	t.ended = true
	ready := t.spans
	t.spans = nil
	if !t.exported.Load() {
		ready = nil
	}
	t.mu.Unlock()
	k.free(t)
	k.batcher.enqueue(ready, 0)
}

// ForceFlush implements sdktrace.SpanProcessor.
func (k *keeper) ForceFlush(ctx context.Context) error { return k.batcher.flush(ctx) }

// Shutdown implements sdktrace.SpanProcessor.
func (k *keeper) Shutdown(ctx context.Context) error { return k.batcher.shutdown(ctx) }
