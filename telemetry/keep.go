package telemetry

import (
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"tyk_proxy/middleware"
)

// The kinds of kept requests. A stage's name is the kind of its denials and
// bypasses.
const (
	kindFailed   = "failed"   // the verdict is Fail
	kindUpstream = "upstream" // the backend answered with a 5xx
	kindSlow     = "slow"     // allowed, but slow
)

// keeping decides which requests that are not sampled are exported because of
// their outcome. Each kind has its own limit, so that many invalid tokens hide
// neither failures nor the denials of another stage. It is safe for concurrent
// use.
type keeping struct {
	slow   time.Duration            // 0 keeps no slow requests
	limits map[string]*rate.Limiter // by kind; nil keeps no requests
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

// judge marks the request as kept if its outcome is of some kind and the limit
// of the kind allows it.
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

// kind returns the kind of the request, or "" if it is not to be kept.
func (k keeping) kind(r *requestState, ex *middleware.Exchange, stage string, verdict middleware.Verdict) string {
	switch {
	case verdict == middleware.Fail:
		return kindFailed
	case verdict != middleware.Allow:
		return stage
	case stage != middleware.StageProxy:
		return "" // the next stage follows
	case ex.Upstream.Status >= http.StatusInternalServerError:
		return kindUpstream
	case k.slow > 0 && time.Since(r.began) >= k.slow:
		return kindSlow
	}
	return ""
}
