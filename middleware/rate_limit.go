package middleware

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// The sources of a [Quota].
const (
	SourceRedis  = "redis"
	SourceMemory = "memory" // the window was known to be used up
)

// Quota is the state of a token's current window. The zero value means that no
// limit was consulted.
type Quota struct {
	Limit   int64         // requests per window
	Used    int64         // requests in this window so far, this one and refused ones included
	Window  time.Duration // the window's length
	Reset   time.Duration // from the decision to the end of the window
	ResetAt time.Time     // the end of the window, by the counter's clock
	Source  string        // [SourceRedis] or [SourceMemory]
}

// Remaining returns the number of requests left in this window. It is never
// negative.
func (q Quota) Remaining() int64 { return max(0, q.Limit-q.Used) }

// RetryAfter returns when a refused client may come back: the rest of the
// window, rounded up to whole seconds, and at least one.
func (q Quota) RetryAfter() time.Duration { return time.Duration(wholeSeconds(q.Reset)) * time.Second }

// Counter counts requests in a fixed window that all gateways share.
// Implementations are safe for concurrent use.
type Counter interface {
	// Count adds one request of an api key and returns the state of its window.
	// A request beyond the limit need not be added. The error is
	// [ErrUnavailable] or [ErrOverloaded], perhaps wrapped; it never names the
	// key.
	Count(ctx context.Context, apiKey string, limit int64) (Quota, error)
}

// RateLimit is the fourth stage: a fixed window shared by all gateways. A
// client may use its whole limit at the end of one window and again at the
// start of the next: at most twice the limit in any span of one window.
type RateLimit struct {
	cfg RateLimitConfig
}

// RateLimitConfig configures a [RateLimit].
type RateLimitConfig struct {
	Counter Counter // required
	// FailOpen lets requests pass uncounted while the counter is unavailable.
	// Otherwise they are refused, because the limit cannot be kept.
	FailOpen bool
}

// NewRateLimit returns the stage.
func NewRateLimit(cfg RateLimitConfig) *RateLimit { return &RateLimit{cfg: cfg} }

// Name implements [Stage].
func (*RateLimit) Name() string { return StageRateLimit }

// Check implements [Stage].
func (l *RateLimit) Check(ctx context.Context, ex *Exchange) Outcome {
	limit := ex.Record.RateLimit
	quota, err := l.cfg.Counter.Count(ctx, ex.Claims.APIKey, limit)
	switch {
	case errors.Is(err, ErrOverloaded): // refused even if FailOpen is set: passing would add to the load
		return Outcome{Reason: Overloaded, Err: err}
	case err != nil && l.cfg.FailOpen && limit > 0: // a limit of 0 admits nothing, whatever the count
		return Outcome{Reason: LimiterBypassed, Err: err}
	case err != nil:
		return Outcome{Reason: LimiterUnavailable, Err: err}
	}
	ex.Quota = quota
	if quota.Used > limit {
		return Outcome{Reason: RateLimited}
	}
	return Outcome{Reason: WithinLimit}
}

// The names of the limit's header fields in Go's canonical
// spelling (names are not case sensitive, RFC 9110 §5.1).
const (
	headerRateLimitPolicy = "Ratelimit-Policy"
	headerRateLimit       = "Ratelimit"
	headerXLimit          = "X-Ratelimit-Limit"
	headerXRemaining      = "X-Ratelimit-Remaining"
	headerXReset          = "X-Ratelimit-Reset"
)

// maxInteger is the largest integer of a structured field (RFC 9651 §3.3.1).
// Parsers refuse the whole field if a number in it is larger.
const maxInteger = 999_999_999_999_999

// writeRateLimitHeaders tells the client the state of its quota. No other
// function writes these fields, and it replaces those of an upstream. It writes
// nothing if no limit was consulted.
//
// RateLimit-Policy and RateLimit follow draft-ietf-httpapi-ratelimit-headers-11:
// q is the quota and w the window in seconds; r is the number of requests that
// remain and t the number of seconds until the reset. X-RateLimit-Reset is the
// Unix time of the reset. A larger number than maxInteger is written as maxInteger.
func writeRateLimitHeaders(h http.Header, q Quota) {
	if q.Window <= 0 {
		return
	}
	limit, remaining := strconv.FormatInt(min(q.Limit, maxInteger), 10), strconv.FormatInt(min(q.Remaining(), maxInteger), 10)
	window, reset := strconv.FormatInt(int64(q.Window/time.Second), 10), strconv.FormatInt(wholeSeconds(q.Reset), 10)
	h[headerRateLimitPolicy] = []string{`"default";q=` + limit + `;w=` + window}
	h[headerRateLimit] = []string{`"default";r=` + remaining + `;t=` + reset}
	h[headerXLimit] = []string{limit}
	h[headerXRemaining] = []string{remaining}
	h[headerXReset] = []string{strconv.FormatInt(q.ResetAt.Unix(), 10)}
}

// wholeSeconds rounds up to whole seconds, and to at least one: a client that
// obeys it must not come back inside the same window.
func wholeSeconds(d time.Duration) int64 {
	return max(1, int64((d+time.Second-1)/time.Second))
}
