package telemetry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// collector is an exporter that a test can break.
type collector struct {
	mu    sync.Mutex
	err   error
	hang  bool
	calls atomic.Int64
	spans int

	largest int // batch
}

func (c *collector) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	c.calls.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	c.largest = max(c.largest, len(spans))
	if c.err == nil {
		c.spans += len(spans)
	}
	return c.err
}

func (*collector) Shutdown(context.Context) error { return nil }

func (c *collector) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// fates counts what became of spans.
type fates struct{ exported, failed, dropped atomic.Int64 }

func (f *fates) count(fate string, n int) {
	map[string]*atomic.Int64{fateExported: &f.exported, fateFailed: &f.failed, fateDropped: &f.dropped}[fate].Add(int64(n))
}

func threeSpans() []sdktrace.ReadOnlySpan {
	return tracetest.SpanStubs{{Name: "a"}, {Name: "b"}, {Name: "c"}}.Snapshots()
}

func TestBatcherRecovers(t *testing.T) {
	c, f := &collector{err: errors.New("connection refused")}, &fates{}
	b := newBatcher(c, f.count)
	b.enqueue(threeSpans(), 0)
	if err := b.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.failed.Load() != 3 || f.exported.Load() != 0 {
		t.Errorf("%d failed and %d exported, want 3 and 0", f.failed.Load(), f.exported.Load())
	}
	c.set(nil)
	b.enqueue(threeSpans(), 1)
	if err := b.shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.exported.Load() != 3 || c.spans != 3 || f.dropped.Load() != 1 {
		t.Errorf("%d exported, %d arrived, %d dropped, want 3, 3, 1", f.exported.Load(), c.spans, f.dropped.Load())
	}
	b.enqueue(threeSpans(), 0)
	if f.dropped.Load() != 4 {
		t.Errorf("%d dropped after the stop, want 4", f.dropped.Load())
	}
}

// A collector that hangs costs spans, never a request's time or memory without
// bound.
func TestBatcherDoesNotBlock(t *testing.T) {
	c, f := &collector{hang: true}, &fates{}
	b := newBatcher(c, f.count)
	const traces = 3 * queueTraces
	began := time.Now()
	for range traces {
		b.enqueue(threeSpans(), 0)
	}
	if took := time.Since(began); took > exportTimeout/2 {
		t.Errorf("queueing took %s: it waited for the collector", took)
	}
	if f.dropped.Load() < 3*(traces-2*queueTraces) {
		t.Errorf("%d spans dropped, want at least %d", f.dropped.Load(), 3*(traces-2*queueTraces))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	if err := b.shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > exportTimeout/2 {
		t.Errorf("the stop took %s, want about the 100 ms it was given", took)
	}
	if total := f.dropped.Load() + f.failed.Load(); total != 3*traces {
		t.Errorf("%d spans accounted for, want all %d", total, 3*traces)
	}
}

// What a flush finds in the queue goes out in batches that a collector takes:
// gRPC's limit is 4 MiB.
func TestFlushInBatches(t *testing.T) {
	c, f := &collector{}, &fates{}
	b := newBatcher(c, f.count)
	const traces = 2000
	for range traces {
		b.enqueue(threeSpans(), 0)
	}
	if err := b.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.exported.Load() != 3*traces || c.largest >= batchSpans+maxSpansPerTrace {
		t.Errorf("%d spans exported, at most %d at once; want %d, in batches of about %d",
			f.exported.Load(), c.largest, 3*traces, batchSpans)
	}
	if err := b.shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A collector that refuses at once must not flood the log.
func TestBatcherComplainsSeldom(t *testing.T) {
	var complaints []string
	handler := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(handler) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { complaints = append(complaints, err.Error()) }))
	f := &fates{}
	b := newBatcher(&collector{err: errors.New("connection refused")}, f.count)
	for range 20 {
		b.enqueue(threeSpans(), 0)
		if err := b.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.failed.Load() != 60 || len(complaints) != 1 {
		t.Errorf("%d spans failed and were reported in %q; want 60 and one line", f.failed.Load(), complaints)
	}
}
