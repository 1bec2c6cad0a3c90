package middleware

import (
	"context"
	"time"
)

// Usage is how often a token was used in its current window.
type Usage struct {
	Count  int64         // this request included
	Window time.Duration // the window's length
	Reset  time.Duration // from now to the window's end
	End    time.Time     // the window's end, by the counter's clock
}

// Counter counts requests in a fixed window that all gateways share.
// Implementations are safe for concurrent use.
type Counter interface {
	// Count adds one request of an api key and returns where it stands. Its
	// error is [ErrUnavailable], perhaps wrapped; it never names the key.
	Count(ctx context.Context, apiKey string) (Usage, error)
}

// RateLimit is the fourth stage: a fixed window shared by all gateways. A
// client may use its whole limit at the end of one window and again at the
// start of the next: at most twice the limit in any span of one window.
type RateLimit struct {
	counter Counter
}

// NewRateLimit returns the stage.
func NewRateLimit(counter Counter) *RateLimit { return &RateLimit{counter: counter} }

// Name implements [Stage].
func (*RateLimit) Name() string { return StageRateLimit }

// Check implements [Stage].
func (l *RateLimit) Check(ctx context.Context, ex *Exchange) Outcome {
	usage, err := l.counter.Count(ctx, ex.Claims.APIKey)
	if err != nil {
		return Outcome{Reason: LimiterUnavailable, Err: err}
	}
	limit := ex.Token.RateLimit
	ex.Quota = Quota{
		Limit:     limit,
		Used:      usage.Count,
		Remaining: max(0, limit-usage.Count),
		Window:    usage.Window,
		Reset:     usage.Reset,
		ResetAt:   usage.End,
	}
	if usage.Count > limit {
		return Outcome{Reason: RateLimited}
	}
	return Outcome{Reason: WithinLimit}
}
