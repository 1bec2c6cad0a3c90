package telemetry

import (
	"sync"
	"time"

	"tyk_proxy/middleware"
)

// The kinds of requests that are kept, beside the stages, whose names stand for
// their denials and bypasses.
const (
	kindFailed   = "failed"   // the gateway's own verdict
	kindUpstream = "upstream" // the backend answered with a 5xx
	kindSlow     = "slow"     // for being slow alone
)

// keepCap bounds the traces that are kept for what happened, in any second.
// Half of it, and what is odd, is for failures alone; of the other half, no
// stage's denials and bypasses and no slow requests take more than half again.
// So nobody can hide the failures, or another stage's refusals, behind a flood
// of bad tokens, and a limiter that is away for hours does not hide what else
// fails.
//
// A backend's 5xx belongs to the failures, where no client's refusals get in
// its way, but takes no more than half of them: a backend that answers nothing
// else does not hide that the gateway fails, too.
//
// Each share is at least one, so that a cap of one keeps whatever comes first.
type keepCap struct {
	now func() time.Time

	mu     sync.Mutex
	limits map[string][]*lastSecond // of a kind; all of them have to allow
}

func newKeepCap(perSecond int) *keepCap {
	share := func(most int) *lastSecond { return &lastSecond{most: max(most, 1)} }
	half := perSecond / 2
	all, failures, others := share(perSecond), share(perSecond-half), share(half)
	c := &keepCap{now: time.Now, limits: map[string][]*lastSecond{
		kindFailed:   {all, failures},
		kindUpstream: {all, failures, share(half / 2)},
		kindSlow:     {all, others, share(half / 2)},
	}}
	for _, stage := range middleware.StageNames() {
		c.limits[stage] = []*lastSecond{all, others, share(half / 2)}
	}
	return c
}

// allow reports whether one more trace of a kind may be kept.
func (c *keepCap) allow(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	limits, now := c.limits[kind], c.now()
	for _, limit := range limits {
		if !limit.room(now) {
			return false // and nothing is taken from the others
		}
	}
	for _, limit := range limits {
		limit.kept = append(limit.kept, now)
	}
	return len(limits) > 0
}

// lastSecond remembers what was kept in the last second, so that no second,
// wherever it begins, has more than its share. A token bucket would let a burst
// and what it refills meanwhile through, which is twice as much; half of both
// would cut what a steady flow gets. The memory is that of the share at most.
type lastSecond struct {
	most int
	kept []time.Time // oldest first
}

func (l *lastSecond) room(now time.Time) bool {
	for len(l.kept) > 0 && now.Sub(l.kept[0]) >= time.Second {
		l.kept = l.kept[1:]
	}
	return len(l.kept) < l.most
}
