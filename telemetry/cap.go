package telemetry

import (
	"golang.org/x/time/rate"

	"tyk_proxy/middleware"
)

// The kinds of requests that are kept, beside the stages, whose names stand for
// their denials and bypasses.
const (
	kindFailed   = "failed"   // the gateway's own verdict
	kindUpstream = "upstream" // the backend answered with a 5xx
	kindSlow     = "slow"     // for being slow alone
)

// keepCap bounds the traces that are kept for what happened, in each second.
// Half of it is for failures alone; of the other half, no stage's denials and
// bypasses and no slow requests take more than half again. So nobody can hide
// the failures, or another stage's refusals, behind a flood of bad tokens, and
// a limiter that is away for hours does not hide what else fails.
//
// A backend's 5xx belongs to the failures, where no client's refusals get in
// its way, but takes no more than half of them: a backend that answers nothing
// else does not hide that the gateway fails, too.
type keepCap struct {
	limits map[string][]*rate.Limiter // of a kind; read-only once made
}

func newKeepCap(perSecond int) *keepCap {
	share := func(part int) *rate.Limiter {
		return rate.NewLimiter(rate.Limit(perSecond)/rate.Limit(part), max(min(perSecond, 1), perSecond/part))
	}
	failures, others := share(2), share(2)
	c := &keepCap{limits: map[string][]*rate.Limiter{
		kindFailed:   {failures},
		kindUpstream: {share(4), failures},
		kindSlow:     {share(4), others},
	}}
	for _, stage := range middleware.StageNames() {
		c.limits[stage] = []*rate.Limiter{share(4), others}
	}
	return c
}

// allow reports whether one more trace of a kind may be kept.
func (c *keepCap) allow(kind string) bool {
	for _, limit := range c.limits[kind] {
		if !limit.Allow() {
			return false
		}
	}
	return len(c.limits[kind]) > 0
}
