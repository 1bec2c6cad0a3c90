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

// The pause between two probes of a silent Redis begins short and doubles. The
// longest is short too: it is how late a return is noticed, and ten probes a
// second cost Redis nothing.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// mostPatience is the longest that a probe waits for its answer. A Redis that
// was stopped answers the probe that waits as soon as it goes on; and each probe
// without an answer leaves a connection in the queue of the listening socket.
const mostPatience = time.Second

// silence is whether Redis answers. It is the [redis.Limiter] of the shared
// connection: go-redis asks it before each batch and reports how the batch
// ended. It is safe for concurrent use.
type silence struct {
	timeout time.Duration
	prober  *prober
	changed func(error)
	fallen  func()                // called when a silence begins, before anybody learns of it
	back    func(context.Context) // called after it ended

	epoch   atomic.Pointer[epoch]
	heard   atomic.Int64 // when the last byte came, Unix nanoseconds
	starved atomic.Int64 // when this process was found to have got no processor, Unix nanoseconds
	batches atomic.Uint64
	changes atomic.Uint64

	telling sync.Mutex // keeps the calls of changed in order
	mu      sync.Mutex
	closing context.Context //nolint:containedctx // ends the probes
	closed  context.CancelFunc
	probing sync.WaitGroup
}

// epoch is a time in which Redis answers, or one in which it does not.
type epoch struct {
	silent error                   // nil while Redis answers
	ctx    context.Context         //nolint:containedctx // of all who wait; its cause is the silence that ended it
	end    context.CancelCauseFunc // nil for a silent one
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

// speak begins an epoch in which Redis answers.
func (s *silence) speak() {
	ctx, end := context.WithCancelCause(context.Background())
	s.epoch.Store(&epoch{ctx: ctx, end: end})
}

// Allow implements [redis.Limiter]: nothing is sent to a silent Redis.
func (s *silence) Allow() error { return s.epoch.Load().silent }

// ReportResult implements [redis.Limiter]. A batch that ran into the timeout, or
// whose connection broke, raises the suspicion that Redis is silent. The
// connection may have met with somebody who closed just that; the probe tells,
// and meanwhile the others wait.
func (s *silence) ReportResult(err error) {
	s.batches.Add(1)
	if !failed(err) || errors.Is(err, redis.ErrClosed) {
		return
	}
	s.suspect(err)
}

// suspect begins a silence if a probe is not answered either. After a timeout
// the probe gets a fifth of it, so that a silence is noticed soon; but all of it
// if this process was lately not given a processor, and so was perhaps Redis.
func (s *silence) suspect(err error) {
	patience := s.timeout
	if timedOut(err) && time.Since(time.Unix(0, s.starved.Load())) > time.Second {
		patience /= 5
	}
	if failed(s.prober.ask(s.closing, patience)) {
		s.fall(err)
	}
}

// heardLately reports whether a byte came over the shared connection within the
// timeout.
func (s *silence) heardLately() bool {
	return time.Since(time.Unix(0, s.heard.Load())) < s.timeout
}

// fall begins a silence, if there is none: it answers all who wait and probes
// until Redis answers.
func (s *silence) fall(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.epoch.Load()
	if now.silent != nil || s.closing.Err() != nil {
		return
	}
	silent := &epoch{silent: fmt.Errorf("it does not answer: %w", unquoted(reason))}
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

// endure tells of a silence, waits for its end and tells of that. It reports
// false if the client is closed before.
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

// awaitAnswer probes until Redis answers, and reports false if the client is
// closed before.
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
