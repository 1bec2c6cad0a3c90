package telemetry

import (
	"golang.org/x/time/rate"

	"tyk_proxy/middleware"
)

// kindSlow is the kind of requests that are kept for being slow alone.
const kindSlow = "slow"

// keepCap bounds the traces that are kept for what happened, in each second.
// Half of it is for failures alone; of the other half, no stage's denials and
// bypasses and no slow requests take more than half again. So nobody can hide
// the failures, or another stage's refusals, behind a flood of bad tokens, and
// a limiter that is away for hours does not hide what else fails.
type keepCap struct {
	failures *rate.Limiter
	others   *rate.Limiter
	kinds    map[string]*rate.Limiter // read-only once made
}

func newKeepCap(perSecond int) *keepCap {
	share := func(part int) *rate.Limiter {
		return rate.NewLimiter(rate.Limit(perSecond)/rate.Limit(part), max(min(perSecond, 1), perSecond/part))
	}
	c := &keepCap{failures: share(2), others: share(2), kinds: map[string]*rate.Limiter{kindSlow: share(4)}}
	for _, stage := range middleware.StageNames() {
		c.kinds[stage] = share(4)
	}
	return c
}

// allow reports whether one more trace may be kept: of a failure, or of a kind
// (a stage's name for its denials and bypasses, or kindSlow).
func (c *keepCap) allow(failed bool, kind string) bool {
	if failed {
		return c.failures.Allow()
	}
	limiter, ok := c.kinds[kind]
	return ok && limiter.Allow() && c.others.Allow()
}
