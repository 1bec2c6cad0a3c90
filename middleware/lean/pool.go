package lean

import (
	"slices"
	"sync"
	"time"
)

// pool keeps idle connections. It returns the connection that was used last, so
// that those left over from a burst expire.
type pool struct {
	limit   int           // connections
	timeout time.Duration // 0 means none

	mu     sync.Mutex
	idle   []*conn // by idleSince
	timer  *time.Timer
	armed  bool // the timer will call expire
	closed bool // closeAll was called and no request came after
}

// get returns an idle connection that is open and quiet, or nil.
func (p *pool) get() *conn {
	for {
		c := p.pop()
		if c == nil {
			return nil
		}
		// The timer may be late, for example after the machine was suspended.
		if (p.timeout == 0 || time.Since(c.idleSince) < p.timeout) && c.isQuiet() {
			c.reused = true
			return c
		}
		c.abort()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put reports whether it took c.
func (p *pool) put(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= p.limit {
		return false
	}
	c.idleSince = time.Now()
	p.idle = append(p.idle, c)
	if p.timeout > 0 && !p.armed {
		p.arm(p.timeout)
	}
	return true
}

// arm schedules expire after d. The caller holds mu.
func (p *pool) arm(d time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
		return
	}
	p.timer.Reset(d)
}

// expire closes connections that were idle for too long. One timer serves all
// connections and runs only while there are any.
func (p *pool) expire() {
	p.mu.Lock()
	now := time.Now()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleSince) >= p.timeout {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	if p.armed = len(p.idle) > 0; p.armed {
		p.arm(p.timeout - now.Sub(p.idle[0].idleSince))
	}
	p.mu.Unlock()
	for _, c := range old {
		c.abort()
	}
}

func (p *pool) closeAll() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.timer != nil {
		p.timer.Stop()
		p.armed = false
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.abort()
	}
}
