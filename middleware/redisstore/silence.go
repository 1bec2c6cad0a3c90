package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The pause between two probes of a silent Redis begins at firstPause and doubles
// up to longestPause, which bounds how late the end of a silence is noticed.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// mostPatience bounds the time that a probe waits for its answer. It is long
// because a paused Redis answers the waiting probe as soon as it resumes, and
// because each unanswered probe leaves a connection in its accept queue.
const mostPatience = time.Second

// silence tracks whether Redis answers. It is the [redis.Limiter] of the shared
// connection: go-redis calls Allow before each batch and ReportResult after it.
// It is safe for concurrent use.
type silence struct {
	timeout time.Duration
	prober  *prober
	changed func(error)
	fallen  func()                // called when a silence begins, before callers get their errors
	back    func(context.Context) // called after a silence has ended

	epoch   atomic.Pointer[epoch]
	heard   atomic.Int64 // when the last byte came, Unix nanoseconds
	starved atomic.Int64 // when this process was found to have got no processor, Unix nanoseconds
	batches atomic.Uint64
	changes atomic.Uint64

	telling sync.Mutex // serialises the calls of changed
	mu      sync.Mutex
	closing context.Context // ends the probes
	closed  context.CancelFunc
	probing sync.WaitGroup
}

// epoch is a period in which Redis answers, or one in which it does not.
type epoch struct {
	silent error                   // nil while Redis answers
	ctx    context.Context         // of all callers that wait; its cause is the silence that ended it
	end    context.CancelCauseFunc // nil if silent
}

func newSilence(o Options, p *prober) *silence {
	s := &silence{timeout: o.Timeout, prober: p, changed: o.Changed}
	if s.changed == nil {
		s.changed = func(error) {}
	}
	s.closing, s.closed = context.WithCancel(context.Background())
	s.speak()
	return s
}

// speak begins a period in which Redis answers.
func (s *silence) speak() {
	ctx, end := context.WithCancelCause(context.Background())
	s.epoch.Store(&epoch{ctx: ctx, end: end})
}

// Allow implements [redis.Limiter]. It returns an error while Redis is silent.
func (s *silence) Allow() error { return s.epoch.Load().silent }

// ReportResult implements [redis.Limiter]. If a batch timed out or its connection
// broke, a probe decides whether Redis is silent, because only that connection may
// be at fault; other callers wait for the probe.
func (s *silence) ReportResult(err error) {
	s.batches.Add(1)
	if !failed(err) || errors.Is(err, redis.ErrClosed) {
		return
	}
	s.suspect(err)
}

// suspect begins a silence if a probe was not or is not answered either.
func (s *silence) suspect(err error) {
	var confirmed silenceError
	if errors.As(err, &confirmed) || timedOut(err) && !s.answersElsewhere() ||
		!timedOut(err) && failed(s.prober.ask(s.closing, s.timeout)) {
		s.fall(err)
	}
}

// answersElsewhere reports whether a probe is answered after a command timed out.
// The probe gets a fifth of the timeout, so that a silence is noticed soon, or all
// of it if this process, and so perhaps Redis, was not scheduled lately.
func (s *silence) answersElsewhere() bool {
	patience := s.timeout / 5
	if time.Since(time.Unix(0, s.starved.Load())) < time.Second {
		patience = s.timeout
	}
	return !failed(s.prober.ask(s.closing, patience))
}

// heardLately reports whether a byte arrived on the shared connection within the
// timeout.
func (s *silence) heardLately() bool {
	return time.Since(time.Unix(0, s.heard.Load())) < s.timeout
}

// fall begins a silence, if there is none: all callers that wait get an error, and
// a goroutine probes until Redis answers.
func (s *silence) fall(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.epoch.Load()
	if now.silent != nil || s.closing.Err() != nil {
		return
	}
	if timedOut(reason) {
		reason = fmt.Errorf("no reply within redis.timeout (%s): %w", s.timeout, reason)
	}
	silent := &epoch{silent: fmt.Errorf("it does not answer: %w", redact(reason))}
	s.epoch.Store(silent)
	s.fallen()
	now.end(silent.silent)
	s.changes.Add(1)
	s.probing.Go(func() {
		if s.endure(silent.silent) {
			s.back(s.closing)
		}
	})
}

// endure reports a silence, waits for its end and reports that. It returns false
// if the client is closed before.
func (s *silence) endure(reason error) bool {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.changed(reason)
	if !s.awaitAnswer() {
		return false
	}
	s.speak()
	s.changes.Add(1)
	s.changed(nil)
	return true
}

// awaitAnswer probes until Redis answers. It returns false if the client is closed
// before.
func (s *silence) awaitAnswer() bool {
	pause, patience := firstPause, s.timeout
	for {
		if !failed(s.prober.ask(s.closing, patience)) {
			return true
		}
		select {
		case <-s.closing.Done():
			return false
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
		patience = max(s.timeout, min(2*patience, mostPatience))
	}
}

func (s *silence) close() {
	s.mu.Lock()
	s.closed()
	s.mu.Unlock()
	s.probing.Wait()
}

// timedOut reports whether an error is a timeout, as opposed to a connection
// that broke or was refused.
func timedOut(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
