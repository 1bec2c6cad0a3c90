package middleware

import (
	"context"
	"net/http"
	"time"
)

// Exchange is what the stages have learned so far about one request. It
// belongs to the goroutine that serves the request; nothing keeps it after
// [Observer.RequestEnded] returns.
type Exchange struct {
	Request  *http.Request
	Received time.Time // when the pipeline took the request

	Claims   Claims   // after auth
	Token    *Token   // after token_lookup; shared, read-only
	Path     Path     // after route_check: what was authorised is what is forwarded
	Route    string   // the rule of the record that matched, without its method
	Quota    Quota    // after rate_limit
	Upstream Upstream // after proxy

	// Trail are the stages that have ended, in order.
	Trail []Step
}

// Bypassed returns the first step that passed by policy, if there is one.
func (ex *Exchange) Bypassed() (step Step, ok bool) {
	for _, step := range ex.Trail {
		if step.Outcome.Verdict() == Bypass {
			return step, true
		}
	}
	return Step{}, false
}

// Step is one stage's part in a request.
type Step struct {
	Stage   string
	Started time.Time
	Outcome Outcome
	Elapsed time.Duration
}

// Quota is where a token stands in its current window.
type Quota struct {
	Limit     int64         // requests per window
	Used      int64         // requests in this window so far, this one and those refused by Redis included
	Remaining int64         // requests left in this window; never negative
	Window    time.Duration // the window's length; 0 where no limit was consulted
	Reset     time.Duration // from the decision to the end of the window
	ResetAt   time.Time     // the end of the window, by the limiter's clock
	Source    string        // [SourceRedis] or [SourceMemory]
}

// RetryAfter is the Retry-After of a request that the quota refuses: the rest of
// the window in whole seconds, and never less than one.
func (q Quota) RetryAfter() time.Duration { return time.Duration(wholeSeconds(q.Reset)) * time.Second }

// Upstream is what the target backend answered.
type Upstream struct {
	Status int // HTTP status; 0 where none was received
}

// Outcome is the one value that a stage returns: the reason, which carries
// the verdict, and the cause where something broke.
type Outcome struct {
	Reason Reason
	// Err is the cause of a Fail or Bypass, for the operator. It is never shown to the
	// client and must not carry credentials.
	Err error
}

// Verdict returns what the outcome means for the request.
func (o Outcome) Verdict() Verdict { return o.Reason.Info().Verdict }

// Proceeds reports whether the request goes on to the next stage.
func (o Outcome) Proceeds() bool {
	v := o.Verdict()
	return v == Allow || v == Bypass
}

// Stage decides one question about a request. It never writes a response,
// logs or measures. Implementations are safe for concurrent use.
type Stage interface {
	// Name returns the stage's stable, snake_case name.
	Name() string
	// Check decides. It may add what it learned to the exchange.
	Check(ctx context.Context, ex *Exchange) Outcome
}

// Forwarder is the last stage: it answers the client itself.
type Forwarder interface {
	// Name returns the stage's stable, snake_case name.
	Name() string
	// Forward relays the request and its response. Where it returns an outcome
	// that does not proceed and has written nothing, the pipeline answers.
	Forward(ctx context.Context, w http.ResponseWriter, ex *Exchange) Outcome
}

// Decision is how a request ended.
type Decision struct {
	// Stage is the stage that decided: the last one that ran, or, where the
	// request was served only because policy let it pass, the one bypassed.
	Stage   string
	Outcome Outcome       // of that stage
	Status  int           // HTTP status sent, or [StatusClientClosedRequest]
	Bytes   int64         // body bytes sent
	Elapsed time.Duration // since the pipeline took the request
}

// Observer learns of every stage and of the end of every request. It is the
// only way in which the pipeline speaks to traces, metrics and logs. For each
// StageStarted there is exactly one StageEnded, also when the stage panics,
// and exactly one RequestEnded per request. Implementations are safe for
// concurrent use.
type Observer interface {
	// StageStarted returns the context in which the stage runs.
	StageStarted(ctx context.Context, ex *Exchange, stage string) context.Context
	// StageEnded receives the context that StageStarted returned. The step is
	// already the last of the exchange's trail.
	StageEnded(ctx context.Context, ex *Exchange, step Step)
	// RequestEnded receives the request's own context.
	RequestEnded(ctx context.Context, ex *Exchange, d Decision)
}
