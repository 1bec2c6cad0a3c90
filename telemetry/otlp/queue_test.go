package otlp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"tyk_proxy/telemetry/names"
)

// collector is an exporter that a test can make fail or hang.
type collector struct {
	mu   sync.Mutex
	fail bool
	hang chan struct{} // nil unless it hangs
}

func (c *collector) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	c.mu.Lock()
	fail, hang := c.fail, c.hang
	c.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail {
		return errors.New("no collector")
	}
	return nil
}

func (c *collector) Shutdown(context.Context) error { return nil }

// complaints collects what is reported while a test runs.
func complaints(t *testing.T) func() []string {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	before := otel.GetErrorHandler()
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, err.Error())
	}))
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		taken := lines
		lines = nil
		return taken
	}
}

func wantLines(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines, want %d: %q", when, len(got), len(want), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%s: %q, want %q", when, got[i], want[i])
		}
	}
}

// Spans that a full queue drops are told of as failed exports are: one line in
// ten seconds for both, and none is forgotten.
func TestLostSpansAreReported(t *testing.T) {
	lines := complaints(t)
	synctest.Test(t, func(t *testing.T) {
		counts := map[string]int{}
		var mu sync.Mutex
		c := &collector{hang: make(chan struct{})}
		queue := NewQueue(c, func(fate string, spans int) {
			mu.Lock()
			defer mu.Unlock()
			counts[fate] += spans
		})
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(queue))
		end := func(spans int) {
			for range spans {
				_, span := tracer.Tracer("").Start(t.Context(), "a")
				span.End()
			}
		}
		end(queueSpans + 1)
		wantLines(t, "the first dropped span", lines(), "spans were not exported (0 failed, 1 dropped): more than 16384 spans wait")
		end(9)
		wantLines(t, "within ten seconds", lines())
		close(c.hang)
		time.Sleep(reportEvery)
		synctest.Wait()
		wantLines(t, "ten seconds later", lines(), "spans were not exported (0 failed, 9 dropped): more than 16384 spans wait")

		c.mu.Lock()
		c.fail, c.hang = true, nil
		c.mu.Unlock()
		end(5)
		time.Sleep(2 * time.Second)
		wantLines(t, "a failed export within ten seconds", lines())
		time.Sleep(reportEvery)
		synctest.Wait()
		wantLines(t, "ten seconds later", lines(), "spans were not exported (5 failed, 0 dropped): no collector")
		end(3)
		if err := tracer.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantLines(t, "at the end", lines(), "spans were not exported (3 failed, 0 dropped): no collector")
		if counts[names.FateExported] != queueSpans || counts[names.FateDropped] != 10 || counts[names.FateFailed] != 8 {
			t.Errorf("counted %v", counts)
		}
	})
}
