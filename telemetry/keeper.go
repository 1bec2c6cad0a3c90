package telemetry

import (
	"context"
	"sync"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
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
		t.root = id
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
		k.sampler.active.Add(-1)
	}
	ready, lost := t.add(span)
	k.batcher.enqueue(ready, lost)
}

// ForceFlush implements sdktrace.SpanProcessor.
func (k *keeper) ForceFlush(ctx context.Context) error { return k.batcher.flush(ctx) }

// Shutdown implements sdktrace.SpanProcessor.
func (k *keeper) Shutdown(ctx context.Context) error { return k.batcher.shutdown(ctx) }
