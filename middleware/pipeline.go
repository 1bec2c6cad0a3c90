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

// PipelineConfig is what a [Pipeline] is made of. Stages, Forwarder and
// Observer are required.
type PipelineConfig struct {
	Stages    []Stage
	Forwarder Forwarder
	Observer  Observer
	// TraceID returns the id under which a request can be found, or "".
	TraceID func(context.Context) string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// WriteTimeout is how long one write of a streamed response may stall.
	// It replaces the server's write deadline once a response outlives a
	// second, so that long streams live and slow readers do not. 0 leaves the
	// server's deadline alone.
	WriteTimeout time.Duration
	// TraceIDHeader is the response header that carries the trace id; "" sends
	// none.
	TraceIDHeader string
}

// Pipeline sends each request through the stages, one way, once. It stops at
// the first stage whose outcome does not proceed and answers for it. It is
// safe for concurrent use.
type Pipeline struct {
	cfg  PipelineConfig
	runs sync.Pool // of *run
}

// NewPipeline returns a pipeline. It panics where a required part is missing:
// that is a mistake in the program, not in its input.
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
	return &Pipeline{cfg: cfg}
}

// ServeHTTP implements [http.Handler].
//
//nolint:contextcheck // run.ctx is the request's context, as the Observer returned it
func (p *Pipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	run := p.newRun()
	run.pipeline, run.ex.Request, run.ex.Received = p, r, p.cfg.Now()
	run.ex.Trail = run.trail[:0]
	run.writer = responseWriter{ResponseWriter: w, ex: &run.ex, writeTimeout: p.cfg.WriteTimeout}
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

// newRun returns an empty run, a used one if there is one: a run is large, and
// nothing keeps it, its exchange or its writer once the request has ended.
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

// run is one request's way through the pipeline.
type run struct {
	pipeline *Pipeline
	ex       Exchange
	writer   responseWriter
	trail    [len(pipelineOrder)]Step // what ex.Trail points into

	stage   string // the last stage entered
	open    bool   // it has not been left yet
	started time.Time
	ctx     context.Context //nolint:containedctx // lives exactly as long as the stage
	outcome Outcome
}

func (r *run) enter(stage string) {
	r.stage, r.open, r.started = stage, true, r.pipeline.cfg.Now()
	r.ctx = r.pipeline.cfg.Observer.StageStarted(r.ex.Request.Context(), &r.ex, stage)
}

func (r *run) leave(o Outcome) {
	if o.Verdict() == 0 {
		// A stage that decided nothing must not look like one that allowed, and
		// every request ends with a reason.
		o = Outcome{Reason: Panicked, Err: errNoReason}
	}
	r.open, r.outcome = false, o
	step := Step{Stage: r.stage, Started: r.started, Outcome: o, Elapsed: r.pipeline.cfg.Now().Sub(r.started)}
	r.ex.Trail = append(r.ex.Trail, step)
	r.pipeline.cfg.Observer.StageEnded(r.ctx, &r.ex, step)
}

// end answers what still has to be answered and reports the request's end. It
// is deferred, so that it also runs when a stage panics: the panic becomes the
// outcome of the stage it happened in.
func (r *run) end() {
	ctx := r.ex.Request.Context()
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
	r.pipeline.cfg.Observer.RequestEnded(ctx, &r.ex, Decision{
		Stage:   stage,
		Outcome: outcome,
		Status:  r.writer.finalStatus(),
		Bytes:   r.writer.bytes,
		Elapsed: r.pipeline.cfg.Now().Sub(r.ex.Received),
	})
	if aborted {
		// The status line is already out: only closing the connection tells the
		// client that the body is not whole. What net/http still buffers would go
		// with it, and the client would see less than was reported.
		if r.outcome.Reason == UpstreamAborted {
			_ = http.NewResponseController(r.writer.ResponseWriter).Flush() // the client may be gone as well
		}
		panic(http.ErrAbortHandler)
	}
}

// decided returns the stage that decided and its outcome. A bypass outweighs
// the success that it made possible, and nothing else.
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
	// Cause describes the panic: the message of a runtime error or error
	// value's type, never a value that could carry a credential.
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

// streamOutcome says why relaying a response broke off after its status had
// been sent: the client's doing (net/http cancels the context, too, when a
// write to a client that does not read runs into its deadline) or the upstream's.
func streamOutcome(ctx context.Context) Outcome {
	if errors.Is(context.Cause(ctx), ErrShuttingDown) {
		return Outcome{Reason: ShuttingDown, Err: ErrShuttingDown}
	}
	if ctx.Err() != nil {
		return Outcome{Reason: ClientCanceled, Err: ctx.Err()}
	}
	return Outcome{Reason: UpstreamAborted, Err: errors.New("response body ended early")}
}
