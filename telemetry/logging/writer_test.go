package logging

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// valve is the reader of a log. It blocks writers while it is shut.
type valve struct {
	mu     sync.Mutex
	writes int
	broken bool
	taken  bytes.Buffer
}

func (v *valve) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writes++
	if v.broken {
		return 0, errors.New("broken pipe")
	}
	return v.taken.Write(p)
}

func (v *valve) setBroken(broken bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = broken
}

func (v *valve) text() (string, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.taken.String(), v.writes
}

func newTestLog(t *testing.T, out io.Writer) (log interface {
	Debug(...any)
	Warn(...any)
}, writer *Writer) {
	t.Helper()
	l, w, err := New(out, Config{Level: "debug", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	return l, w
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// Many lines cost few writes, a warning is written at once, and Close loses no
// line.
func TestLogLinesAreBatched(t *testing.T) {
	v := &valve{}
	log, writer := newTestLog(t, v)
	for range 1000 {
		log.Debug("line")
	}
	log.Warn("look")
	within(t, 5*time.Second, "a warning", func() bool { text, _ := v.text(); return strings.Contains(text, "look") })
	log.Debug("last")
	writer.Close(t.Context())
	text, writes := v.text()
	if n := strings.Count(text, "\n"); n != 1002 || !strings.Contains(text, "last") {
		t.Errorf("%d lines were written, want 1002 and the last one", n)
	}
	if writes > 100 {
		t.Errorf("%d writes for 1002 lines", writes)
	}
	if writer.Dropped() != 0 {
		t.Errorf("%d lines were dropped", writer.Dropped())
	}
}

// If the reader blocks, lines are dropped and counted, and logging does not
// block.
func TestBlockedLogReader(t *testing.T) {
	reader, out := io.Pipe()
	log, writer := newTestLog(t, out)
	line := strings.Repeat("x", 1000)
	begun := time.Now()
	const lines = 3 * logBuffer / 1000
	for range lines {
		log.Debug(line)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("logging took %s", took)
	}
	if writer.Dropped() < lines/5 { // one buffer waits, and one is being written
		t.Errorf("%d of %d lines were dropped, want most of what does not fit", writer.Dropped(), lines)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, reader) }() // it reads again
	within(t, 10*time.Second, "the buffer", func() bool {
		before := writer.Dropped()
		log.Warn("again")
		return writer.Dropped() == before
	})
	writer.Close(short)
}

// If writes fail and then succeed again, the log reports the number of dropped
// lines.
func TestLogReaderRecovers(t *testing.T) {
	v := &valve{}
	log, writer := newTestLog(t, v)
	defer func() { writer.Close(t.Context()) }()
	v.setBroken(true)
	for range 10 {
		log.Warn("lost")
	}
	within(t, 5*time.Second, "the loss", func() bool { return writer.Dropped() >= 10 })
	v.setBroken(false)
	within(t, 5*time.Second, "a line after it", func() bool {
		log.Warn("back")
		text, _ := v.text()
		return strings.Contains(text, "back")
	})
	within(t, 5*time.Second, "the report", func() bool {
		text, _ := v.text()
		return strings.Contains(text, `"gateway.log.dropped":`)
	})
}
