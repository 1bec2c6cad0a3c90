package logging

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// logBuffer limits the waiting lines, in bytes.
	logBuffer = 1 << 20
	// logDelay is how long a line of level debug or info waits for others, so that
	// many lines need one system call.
	logDelay = 50 * time.Millisecond
)

// Writer writes log lines in its own goroutine, so that logging never blocks. If
// the reader of the log is too slow, or a write fails, lines are dropped and
// counted. It is safe for concurrent use.
type Writer struct {
	out     io.Writer
	report  func(dropped int64) // logs how many lines were dropped; may be nil
	dropped atomic.Int64

	wake    chan struct{} // there are lines to write
	hurry   chan struct{} // the lines must be written at once
	closing chan struct{}
	done    chan struct{}

	mu    sync.Mutex
	lines []byte // waiting lines
	count int64  // number of waiting lines

	spare []byte // buffer of the last lines, for reuse; run only
}

// NewWriter starts a writer. Close stops it.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{
		out:     out,
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	go w.run()
	return w
}

// Write implements [io.Writer]. It requires whole lines, never blocks and never
// fails.
func (w *Writer) Write(line []byte) (int, error) {
	n, urgent := len(line), len(line) > 0 && line[0] == urgentMark
	if urgent {
		line = line[1:]
	}
	w.mu.Lock()
	if len(w.lines)+len(line) > logBuffer {
		w.mu.Unlock()
		w.dropped.Add(1)
		return n, nil
	}
	w.lines = append(w.lines, line...)
	w.count++
	w.mu.Unlock()
	signal(w.wake)
	if urgent {
		signal(w.hurry)
	}
	return n, nil
}

// Dropped returns the number of dropped lines.
func (w *Writer) Dropped() int64 { return w.dropped.Load() }

// Close writes the waiting lines and stops the writer. It returns when this is
// done or ctx ends.
func (w *Writer) Close(ctx context.Context) {
	close(w.closing)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var reported int64
	for {
		select {
		case <-w.wake:
			w.pause()
		case <-w.closing:
			w.flush()
			w.tell(&reported)
			w.flush()
			return
		}
		// Report after a successful write only. A report that fails is itself a
		// dropped line, and would cause another report.
		if w.flush() {
			w.tell(&reported)
		}
	}
}

// tell reports the number of dropped lines since the last report.
func (w *Writer) tell(reported *int64) {
	if dropped := w.dropped.Load(); dropped > *reported && w.report != nil {
		w.report(dropped - *reported)
		*reported = dropped
	}
}

// pause waits for more lines, until one is urgent.
func (w *Writer) pause() {
	timer := time.NewTimer(logDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.hurry:
	case <-w.closing:
	}
}

// flush writes the waiting lines and reports whether it succeeded.
func (w *Writer) flush() bool {
	w.mu.Lock()
	lines, count := w.lines, w.count
	w.lines, w.count = w.spare[:0], 0
	w.mu.Unlock()
	w.spare = lines
	if len(lines) == 0 {
		return true
	}
	if _, err := w.out.Write(lines); err != nil {
		w.dropped.Add(count)
		return false
	}
	return true
}

// signal sends without blocking. One pending signal is enough.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// urgentMark is the first byte of a line that must be written at once. The writer
// removes it.
const urgentMark = 0

// urgent is a logrus formatter that marks warnings and errors. It is not a hook,
// because logrus v1.10.2 runs hooks before it formats and writes the line.
type urgent struct{ logrus.Formatter }

// Format implements [logrus.Formatter].
func (f urgent) Format(entry *logrus.Entry) ([]byte, error) {
	line, err := f.Formatter.Format(entry)
	if err != nil || entry.Level > logrus.WarnLevel {
		return line, err
	}
	return append([]byte{urgentMark}, line...), nil
}
