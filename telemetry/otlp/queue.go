package otlp

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"tyk_proxy/telemetry/names"
)

const (
	// queueSpans limits the spans that wait or are being exported.
	queueSpans = 16_384
	// batchSpans is the size of a full batch, which is exported at once.
	batchSpans = 512
	// batchDelay is how long a span waits for others. Operators expect a trace
	// within seconds of the request.
	batchDelay = time.Second
	// exportTimeout limits one export, including retries.
	exportTimeout = 10 * time.Second
	// reportEvery limits the log lines about lost spans. A collector that refuses
	// exports could cause hundreds a second.
	reportEvery = 10 * time.Second
)

// Queue is the SDK's batch processor with a count of exported and lost spans. The
// SDK (v1.47) drops spans silently if its queue is full; Queue has the same limit
// before it.
type Queue struct {
	sdktrace.SpanProcessor // the SDK's batch processor

	exporter *countedExporter
}

// NewQueue starts the processor. It calls count with the fate and the number of
// spans, from several goroutines.
func NewQueue(exporter sdktrace.SpanExporter, count func(fate string, spans int)) *Queue {
	counted := &countedExporter{SpanExporter: exporter, count: count}
	return &Queue{
		SpanProcessor: sdktrace.NewBatchSpanProcessor(counted,
			sdktrace.WithMaxQueueSize(queueSpans),
			sdktrace.WithMaxExportBatchSize(batchSpans),
			sdktrace.WithBatchTimeout(batchDelay),
			sdktrace.WithExportTimeout(exportTimeout)),
		exporter: counted,
	}
}

// OnEnd implements sdktrace.SpanProcessor. It never blocks a request.
func (q *Queue) OnEnd(span sdktrace.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}
	if q.exporter.pending.Add(1) > queueSpans {
		q.exporter.pending.Add(-1)
		q.exporter.lost(names.FateDropped, 1, errQueueFull)
		return
	}
	q.SpanProcessor.OnEnd(span)
}

var errQueueFull = fmt.Errorf("more than %d spans wait to be exported", queueSpans)

// countedExporter counts exported and lost spans. It reports losses to
// OpenTelemetry's error handler, once in reportEvery.
type countedExporter struct {
	sdktrace.SpanExporter

	count   func(fate string, spans int)
	pending atomic.Int64 // spans that are queued or being exported

	mu         sync.Mutex
	reported   time.Time
	unreported map[string]int // by fate
	cause      error          // of the last loss
	waiting    *time.Timer    // until what is unreported may be reported; nil if nothing is
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *countedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.pending.Add(-int64(len(spans)))
	if err != nil {
		e.lost(names.FateFailed, len(spans), err)
		return nil // lost has reported it
	}
	e.count(names.FateExported, len(spans))
	return nil
}

// lost counts lost spans.
func (e *countedExporter) lost(fate string, spans int, cause error) {
	e.count(fate, spans)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unreported == nil {
		e.unreported = make(map[string]int)
	}
	e.unreported[fate] += spans
	e.cause = cause
	if e.waiting != nil {
		return
	}
	if wait := reportEvery - time.Since(e.reported); wait > 0 {
		// There may be no later loss that reports this one.
		e.waiting = time.AfterFunc(wait, e.complain)
		return
	}
	e.report()
}

// complain reports what was lost since the last report, if anything.
func (e *countedExporter) complain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting != nil {
		e.waiting.Stop()
		e.waiting = nil
		e.report()
	}
}

// report needs the lock.
func (e *countedExporter) report() {
	otel.Handle(fmt.Errorf("spans were not exported (%d failed, %d dropped): %w",
		e.unreported[names.FateFailed], e.unreported[names.FateDropped], e.cause))
	e.reported = time.Now()
	clear(e.unreported)
}

// Shutdown implements sdktrace.SpanExporter.
func (e *countedExporter) Shutdown(ctx context.Context) error {
	e.complain()
	return e.SpanExporter.Shutdown(ctx)
}
