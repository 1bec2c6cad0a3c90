package telemetry

import (
	"net/http"
	"time"

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

// keeping decides which requests that the head did not sample are exported all
// the same, for how they ended. Each kind has a limit of its own, so that a
// flood of bad tokens hides neither failures nor what another stage refuses. It
// is safe for concurrent use.
type keeping struct {
	slow   time.Duration            // 0 keeps nothing for being slow
	limits map[string]*rate.Limiter // by kind; nil keeps nothing
}

func newKeeping(cfg TracesConfig) keeping {
	k := keeping{slow: cfg.SlowThreshold}
	if cfg.KeepPerSecond <= 0 {
		return k
	}
	k.limits = make(map[string]*rate.Limiter)
	for _, kind := range append(middleware.StageNames(), kindFailed, kindUpstream, kindSlow) {
		k.limits[kind] = rate.NewLimiter(rate.Limit(cfg.KeepPerSecond), cfg.KeepPerSecond)
	}
	return k
}

// judge marks the request as kept if a stage ended in a way that is worth it
// and the limit of its kind allows it.
func (k keeping) judge(r *requestState, ex *middleware.Exchange, stage string, outcome middleware.Outcome) {
	if k.limits == nil || r.sampled || r.kept {
		return
	}
	kind := k.kind(r, ex, stage, outcome.Verdict())
	if kind == "" {
		return
	}
	r.kept = k.limits[kind].Allow()
	r.overCap = !r.kept
}

// kind says what a request is worth keeping for; "" means nothing.
func (k keeping) kind(r *requestState, ex *middleware.Exchange, stage string, verdict middleware.Verdict) string {
	switch {
	case verdict == middleware.Fail:
		return kindFailed
	case verdict != middleware.Allow:
		return stage
	case stage != middleware.StageProxy:
		return "" // it goes on
	case ex.Upstream.Status >= http.StatusInternalServerError:
		return kindUpstream
	case k.slow > 0 && time.Since(r.began) >= k.slow:
		return kindSlow
	}
	return ""
}
