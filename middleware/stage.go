// Package middleware is the gateway's request pipeline: five stages that each
// decide one question about a request and return one [Outcome].
//
//	auth → token_lookup → route_check → rate_limit → proxy
//
// A [Pipeline] is an http.Handler that runs the stages in order, answers a
// refused request and reports every step to an [Observer]. The file of a stage
// has the stage's name; stage.go has the types that all stages share, and
// reason.go the table of all outcomes.
//
// The package does not know how outcomes are recorded, where records are stored
// or how the program is configured: it reports through [Observer] and reads
// through [RecordStore] and [Counter]. It imports the standard library,
// golang-jwt and golang-lru only.
package middleware

import (
	"context"
	"net/http"
	"time"
)

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
	// Forward relays the request and its response. If it returns an outcome that
	// does not proceed and has written nothing, the pipeline answers.
	Forward(ctx context.Context, w http.ResponseWriter, ex *Exchange) Outcome
}

// Outcome is the one value that a stage returns: the reason, which carries the
// verdict, and the cause if something broke.
type Outcome struct {
	Reason Reason
	// Err is the cause of a Fail or Bypass, for the operator. It is never shown
	// to the client and must not carry credentials.
	Err error
}

// Verdict returns what the outcome means for the request.
func (o Outcome) Verdict() Verdict { return o.Reason.Info().Verdict }

// Proceeds reports whether the request goes on to the next stage.
func (o Outcome) Proceeds() bool {
	v := o.Verdict()
	return v == Allow || v == Bypass
}

// Exchange is what the stages have learned so far about one request. It
// belongs to the goroutine that serves the request; nothing keeps it after
// [Observer.RequestEnded] returns.
type Exchange struct {
	Request  *http.Request
	Received time.Time // when the pipeline took the request

	Claims   Claims   // set by auth
	Record   *Record  // set by token_lookup; shared and read-only
	Path     Path     // set by route_check: the path that was authorised is the one forwarded
	Route    string   // set by route_check: the rule that matched, without its method
	Quota    Quota    // set by rate_limit
	Upstream Upstream // set by proxy

	// Trail lists the stages that have ended, in order.
	Trail []Step
}

// Bypassed returns the first step that a policy let pass, if there is one.
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

// Upstream is what the upstream answered.
type Upstream struct {
	Status int // HTTP status; 0 if none was received
}

// Result is how a request ended.
type Result struct {
	// Stage is the stage that decided: the last one that ran, or the one that
	// was bypassed if the request was served only because of that.
	Stage   string
	Outcome Outcome       // of that stage
	Status  int           // HTTP status sent, or [StatusClientClosedRequest]
	Bytes   int64         // body bytes sent
	Elapsed time.Duration // since the pipeline took the request
}

// Observer learns of every stage and of the end of every request. The pipeline
// reports to traces, metrics and logs only through it. For each StageStarted
// there is exactly one StageEnded, also if the stage panics, and there is
// exactly one RequestEnded per request. Implementations are safe for concurrent
// use.
type Observer interface {
	// StageStarted returns the context in which the stage runs.
	StageStarted(ctx context.Context, ex *Exchange, stage string) context.Context
	// StageEnded receives the context that StageStarted returned. The step is
	// already the last of the exchange's trail.
	StageEnded(ctx context.Context, ex *Exchange, step Step)
	// RequestEnded receives the request's own context.
	RequestEnded(ctx context.Context, ex *Exchange, result Result)
}
