package telemetry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// queueTraces bounds the traces that wait to be exported.
	queueTraces = 2048
	// batchSpans is when a batch is sent without waiting for more.
	batchSpans = 512
	// batchDelay is how long a trace waits for company: it should be in the
	// backend by the time a person has switched to it.
	batchDelay = time.Second
	// exportTimeout bounds one export, retries included.
	exportTimeout = 10 * time.Second
	// complainEvery bounds the log lines about a collector: one that refuses at
	// once would be worth hundreds a second.
	complainEvery = 10 * time.Second
)

// batcher exports whole traces in the background. It never blocks a request:
// where the queue is full, the trace is dropped and counted. (The SDK's batch
// processor drops spans one by one and does not tell how many.)
type batcher struct {
	exporter sdktrace.SpanExporter
	count    func(fate string, spans int)

	queue   chan []sdktrace.ReadOnlySpan
	flushes chan chan struct{}
	done    chan struct{} // closed when run has returned

	mu     sync.RWMutex // held for reading while something is put into queue
	closed bool
	stop   context.CancelFunc // ends an export that shutdown cannot wait for

	// These two are run's own.
	complained time.Time // when the last failure was reported
	unreported int       // spans that failed since
}

// newBatcher starts the batcher; count is told what became of spans, from any
// goroutine.
func newBatcher(exporter sdktrace.SpanExporter, count func(fate string, spans int)) *batcher {
	ctx, cancel := context.WithCancel(context.Background())
	b := &batcher{
		exporter: exporter,
		count:    count,
		queue:    make(chan []sdktrace.ReadOnlySpan, queueTraces),
		flushes:  make(chan chan struct{}),
		done:     make(chan struct{}),
		stop:     cancel,
	}
	go b.run(ctx)
	return b
}

func (b *batcher) enqueue(spans []sdktrace.ReadOnlySpan, lost int) {
	if lost > 0 {
		b.count(fateDropped, lost)
	}
	if len(spans) == 0 {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		b.count(fateDropped, len(spans))
		return
	}
	select {
	case b.queue <- spans:
	default:
		b.count(fateDropped, len(spans))
	}
}

func (b *batcher) run(ctx context.Context) {
	defer close(b.done)
	var batch []sdktrace.ReadOnlySpan
	tick := time.NewTicker(batchDelay)
	defer tick.Stop()
	for {
		select {
		case spans, ok := <-b.queue:
			if !ok {
				b.export(ctx, batch)
				return
			}
			batch = append(batch, spans...)
			if len(batch) < batchSpans {
				continue
			}
		case <-tick.C:
		case ack := <-b.flushes:
			b.drain(ctx, batch)
			batch = nil
			close(ack)
			continue
		}
		b.export(ctx, batch)
		batch = nil
	}
}

// drain exports what is in the queue now, in batches: a collector need not take
// more than 4 MiB at once.
func (b *batcher) drain(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	for range len(b.queue) {
		batch = append(batch, <-b.queue...) // nothing, once the queue is closed and empty
		if len(batch) >= batchSpans {
			b.export(ctx, batch)
			batch = nil
		}
	}
	b.export(ctx, batch)
}

func (b *batcher) export(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	if err := b.exporter.ExportSpans(ctx, batch); err != nil {
		b.count(fateFailed, len(batch))
		b.complain(len(batch), err)
		return
	}
	b.count(fateExported, len(batch))
}

func (b *batcher) complain(spans int, err error) {
	b.unreported += spans
	if time.Since(b.complained) < complainEvery {
		return
	}
	otel.Handle(fmt.Errorf("%d spans were not exported: %w", b.unreported, err))
	b.complained, b.unreported = time.Now(), 0
}

func (b *batcher) flush(ctx context.Context) error {
	ack := make(chan struct{})
	select {
	case b.flushes <- ack:
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ack:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shutdown exports what is queued, as far as ctx allows.
func (b *batcher) shutdown(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.queue)
	}
	b.mu.Unlock()
	select {
	case <-b.done:
	case <-ctx.Done():
		b.stop()
		<-b.done
	}
	b.stop()
	return b.exporter.Shutdown(ctx)
}
