package middleware

import (
	"context"
	"errors"
	"time"
)

// Where a usage can come from.
const (
	SourceRedis  = "redis"
	SourceMemory = "memory" // the window was known to be used up
)

// Usage is how often a token was used in its current window.
type Usage struct {
	Count  int64         // this request included
	Window time.Duration // the window's length
	Reset  time.Duration // from now to the window's end
	End    time.Time     // the window's end, by the counter's clock
	Source string        // [SourceRedis] or [SourceMemory]
}

// Counter counts requests in a fixed window that all gateways share.
// Implementations are safe for concurrent use.
type Counter interface {
	// Count adds one request of an api key and returns where it stands. A
	// request beyond the limit need not be added. Its error is [ErrUnavailable]
	// or [ErrOverloaded], perhaps wrapped; it never names the key.
	Count(ctx context.Context, apiKey string, limit int64) (Usage, error)
}

// RateLimit is the fourth stage: a fixed window shared by all gateways. A
// client may use its whole limit at the end of one window and again at the
// start of the next: at most twice the limit in any span of one window.
type RateLimit struct {
	cfg RateLimitConfig
}

// RateLimitConfig is what a [RateLimit] is made of.
type RateLimitConfig struct {
	Counter Counter // required
	// FailOpen lets requests pass uncounted while the counter cannot be asked;
	// else they are refused, because then the limit cannot be kept.
	FailOpen bool
}

// NewRateLimit returns the stage.
func NewRateLimit(cfg RateLimitConfig) *RateLimit { return &RateLimit{cfg: cfg} }

// Name implements [Stage].
func (*RateLimit) Name() string { return StageRateLimit }

// Check implements [Stage].
func (l *RateLimit) Check(ctx context.Context, ex *Exchange) Outcome {
	limit := ex.Token.RateLimit
	usage, err := l.cfg.Counter.Count(ctx, ex.Claims.APIKey, limit)
	switch {
	case errors.Is(err, ErrOverloaded): // also with FailOpen: it would add to the load
		return Outcome{Reason: Overloaded, Err: err}
	case err != nil && l.cfg.FailOpen && limit > 0: // a limit of 0 admits none, whatever the count is
		return Outcome{Reason: LimiterBypassed, Err: err}
	case err != nil:
		return Outcome{Reason: LimiterUnavailable, Err: err}
	}
	ex.Quota = Quota{
		Limit:     limit,
		Used:      usage.Count,
		Remaining: max(0, limit-usage.Count),
		Window:    usage.Window,
		Reset:     usage.Reset,
		ResetAt:   usage.End,
		Source:    usage.Source,
	}
	if usage.Count > limit {
		return Outcome{Reason: RateLimited}
	}
	return Outcome{Reason: WithinLimit}
}
