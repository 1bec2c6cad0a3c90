package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// PipelineConfig configures a [Pipeline]. Forwarder and Observer are required.
type PipelineConfig struct {
	Stages    []Stage
	Forwarder Forwarder
	Observer  Observer
	// TraceID returns the id under which a request can be found, or "".
	TraceID func(context.Context) string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// WriteTimeout is how long one write of a streamed response may take. It
	// replaces the server's write deadline when a response takes longer than a
	// second, so that a long stream goes on unless its reader is too slow. 0
	// leaves the server's deadline alone.
	WriteTimeout time.Duration
	// TraceIDHeader is the response header field that carries the trace id; ""
	// means none.
	TraceIDHeader string
}

// Pipeline runs the stages for each request, in order. It stops at the first
// stage whose outcome does not proceed, and answers the client. It is safe for
// concurrent use.
type Pipeline struct {
	cfg  PipelineConfig
	runs sync.Pool // of *run

	flushers sync.Pool // of *flusher
}

// NewPipeline returns a pipeline. It panics if a required field is missing: that
// is a mistake in the program, not in its input.
func NewPipeline(cfg PipelineConfig) *Pipeline {
	if cfg.Forwarder == nil || cfg.Observer == nil {
		panic("middleware: NewPipeline needs a Forwarder and an Observer")
	}
	if cfg.TraceID == nil {
		cfg.TraceID = func(context.Context) string { return "" }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.TraceIDHeader = http.CanonicalHeaderKey(cfg.TraceIDHeader)
	return &Pipeline{cfg: cfg}
}

// ServeHTTP implements [http.Handler].
//
//nolint:contextcheck // run.ctx is the request's context, as the Observer returned it
func (p *Pipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	run := p.newRun()
	run.pipeline, run.ex.Request, run.ex.Received = p, r, p.cfg.Now()
	run.ex.Trail = run.trail[:0]
	run.writer = responseWriter{ResponseWriter: w, ex: &run.ex, writeTimeout: p.cfg.WriteTimeout, flushers: &p.flushers}
	run.writer.closing = len(w.Header()["Connection"]) > 0
	if p.cfg.TraceIDHeader != "" {
		run.writer.traceIDHeader, run.writer.traceID = p.cfg.TraceIDHeader, p.cfg.TraceID(r.Context())
	}
	defer run.end()
	for _, stage := range p.cfg.Stages {
		run.enter(stage.Name())
		run.leave(stage.Check(run.ctx, &run.ex))
		if !run.outcome.Proceeds() {
			return
		}
	}
	run.enter(p.cfg.Forwarder.Name())
	run.leave(p.cfg.Forwarder.Forward(run.ctx, &run.writer, &run.ex))
}

// newRun returns an empty run. Runs are large and pooled: nothing keeps a run,
// its exchange or its writer after the request has ended.
func (p *Pipeline) newRun() *run {
	if r, ok := p.runs.Get().(*run); ok {
		return r
	}
	return new(run)
}

func (r *run) release() {
	runs := &r.pipeline.runs
	*r = run{}
	runs.Put(r)
}

var errNoReason = errors.New("the stage returned no reason")

// run is the state of one request in the pipeline.
type run struct {
	pipeline *Pipeline
	ex       Exchange
	writer   responseWriter
	trail    [len(pipelineOrder)]Step // the array of ex.Trail

	stage   string // the last stage entered
	open    bool   // it has not ended yet
	started time.Time
	ctx     context.Context // of the stage
	outcome Outcome
}

func (r *run) enter(stage string) {
	r.stage, r.open, r.started = stage, true, r.pipeline.cfg.Now()
	r.ctx = r.pipeline.cfg.Observer.StageStarted(r.ex.Request.Context(), &r.ex, stage)
}

func (r *run) leave(o Outcome) {
	if o.Verdict() == 0 {
		// Every request ends with a reason, and a stage that decided nothing must
		// not look like one that allowed.
		o = Outcome{Reason: Panicked, Err: errNoReason}
	}
	r.open, r.outcome = false, o
	step := Step{Stage: r.stage, Started: r.started, Outcome: o, Elapsed: r.pipeline.cfg.Now().Sub(r.started)}
	r.ex.Trail = append(r.ex.Trail, step)
	r.pipeline.cfg.Observer.StageEnded(r.ctx, &r.ex, step)
}

// end answers a refused request and reports the request's end. It is deferred,
// so that it also runs if a stage panics: the panic becomes the outcome of that
// stage.
func (r *run) end() {
	ctx := r.ex.Request.Context()
	r.writer.stopFlusher()
	if cause := recover(); cause != nil {
		r.outcome = panicOutcome(ctx, cause)
		if r.open {
			r.leave(r.outcome)
		}
	}
	defer r.release()
	aborted := r.writer.status != 0 && !r.outcome.Proceeds()
	if !r.outcome.Proceeds() && !aborted && !r.writer.hijacked {
		writeProblem(&r.writer, r.outcome.Reason, r.ex.Quota, r.pipeline.cfg.TraceID(ctx))
	}
	stage, outcome := r.decided()
	r.pipeline.cfg.Observer.RequestEnded(ctx, &r.ex, Result{
		Stage:   stage,
		Outcome: outcome,
		Status:  r.writer.finalStatus(),
		Bytes:   r.writer.bytes,
		Elapsed: r.pipeline.cfg.Now().Sub(r.ex.Received),
	})
	if aborted {
		// The status was already sent, so only closing the connection tells the
		// client that the body is incomplete. The flush sends what net/http still
		// buffers: the reported bytes include it.
		if r.outcome.Reason == UpstreamAborted {
			_ = http.NewResponseController(r.writer.ResponseWriter).Flush() // fails only if the client is gone too
		}
		panic(http.ErrAbortHandler)
	}
}

// decided returns the stage that decided and its outcome. If the request
// succeeded only because a stage was bypassed, that is the bypassed stage.
func (r *run) decided() (stage string, outcome Outcome) {
	if r.outcome.Verdict() == Allow {
		if step, ok := r.ex.Bypassed(); ok {
			return step.Stage, step.Outcome
		}
	}
	return r.stage, r.outcome
}

// PanicError is a panic of a stage as an error.
type PanicError struct {
	// Cause describes the panic: the message of a runtime error, or the type of
	// any other value, which could itself contain a credential.
	Cause string
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return "panic: " + e.Cause }

func panicOutcome(ctx context.Context, cause any) Outcome {
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return streamOutcome(ctx)
	}
	described := fmt.Sprintf("value of type %T", cause)
	var fault runtime.Error
	if err, ok := cause.(error); ok && errors.As(err, &fault) {
		described = fault.Error()
	}
	return Outcome{Reason: Panicked, Err: &PanicError{Cause: described, Stack: debug.Stack()}}
}

// streamOutcome returns why a response broke off after its status was sent:
// because of the client or of the upstream. net/http also cancels the context
// if a write to a client that does not read exceeds its deadline.
func streamOutcome(ctx context.Context) Outcome {
	if errors.Is(context.Cause(ctx), ErrShuttingDown) {
		return Outcome{Reason: ShuttingDown, Err: ErrShuttingDown}
	}
	if ctx.Err() != nil {
		return Outcome{Reason: ClientCanceled, Err: ctx.Err()}
	}
	return Outcome{Reason: UpstreamAborted, Err: errors.New("response body ended early")}
}
