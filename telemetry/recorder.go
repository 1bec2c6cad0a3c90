package telemetry

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// Recorder records outcomes as spans, metrics and log lines. It implements
// [middleware.Observer] and is safe for concurrent use.
//
// The spans of a sampled request are made while it is served. Any other request
// makes none. If its outcome is worth keeping, and the limit allows it, Recorder
// writes its trace at its end from the values recorded meanwhile.
type Recorder struct {
	tracing  *Providers
	tracer   trace.Tracer
	keeping  keeping
	duration metric.Float64Histogram // gateway.stage.duration
	count    metric.Int64Counter     // gateway.decisions
	used     metric.Float64Histogram // gateway.rate_limit.utilization
	retry    metric.Float64Histogram // gateway.rate_limit.retry_after
	served   metric.Float64Histogram // http.server.request.duration
	series   *readyOptions[routeSeries]
	routes   *routeLabels
	degraded *degraded
	keyIDs   *keyIDs
	lines    *accessLog
	stages   map[string]stageRecords
}

// NewRecorder returns a recorder that reports through the providers and the
// logger. keyIDSecret is the key of the HMAC for gateway.key.id.
func (p *Providers) NewRecorder(log *logrus.Logger, keyIDSecret []byte) (*Recorder, error) {
	r := &Recorder{
		tracing:  p,
		tracer:   p.Tracers.Tracer(names.Scope),
		keeping:  p.keeping,
		degraded: newDegraded(),
		keyIDs:   newKeyIDs(keyIDSecret),
		lines:    newAccessLog(log),
		series:   newReadyOptions(serverLabels),
		routes:   newRouteLabels(),
		stages:   make(map[string]stageRecords),
	}
	p.shutdown = append(p.shutdown, func(context.Context) error { r.lines.flush(); return nil })
	if err := r.newInstruments(p.Meters.Meter(names.Scope)); err != nil {
		return nil, err
	}
	if err := p.observeLog(log); err != nil {
		return nil, err
	}
	for _, stage := range middleware.StageNames() {
		r.stages[stage] = newStageRecords(stage)
		for _, records := range r.stages[stage].byReason {
			if records.count != nil {
				// rate() misses the first increase of a counter that appears with it.
				r.count.Add(context.Background(), 0, records.count...)
			}
		}
	}
	return r, nil
}

// newInstruments makes the instruments of the catalogue that the recorder uses.
func (r *Recorder) newInstruments(meter metric.Meter) (err error) {
	for name, histogram := range map[string]*metric.Float64Histogram{
		names.MetricStageDuration: &r.duration, names.MetricUtilization: &r.used,
		names.MetricRetryAfter: &r.retry, names.MetricServerDuration: &r.served,
	} {
		if *histogram, err = newHistogram(meter, name); err != nil {
			return err
		}
	}
	if r.count, err = newCounter(meter, names.MetricDecisions); err != nil {
		return err
	}
	return r.tracing.observe(names.MetricDegraded, r.degraded.observe)
}

// StageStarted implements [middleware.Observer].
func (r *Recorder) StageStarted(ctx context.Context, _ *middleware.Exchange, stage string) context.Context {
	req := requestFrom(ctx)
	req.stage = stage
	if req.sampled {
		ctx, _ = r.tracer.Start(ctx, r.stages[stage].span) // StageEnded ends the span
	}
	return ctx
}

// StageEnded implements [middleware.Observer]. It decides whether the request is
// kept before it measures the stage, so that the exemplar refers to the trace.
func (r *Recorder) StageEnded(ctx context.Context, ex *middleware.Exchange, step middleware.Step) {
	verdict := step.Outcome.Verdict()
	if verdict == middleware.Fail || verdict == middleware.Bypass {
		r.degraded.mark(step.Stage)
	}
	req := requestFrom(ctx)
	if req.sampled {
		span := trace.SpanFromContext(ctx)
		r.describe(span, req, ex, step)
		span.End()
	}
	r.keeping.judge(req, ex, step.Stage, step.Outcome)
	r.measure(req.measuring(ctx), ex, step)
}

// setStatus sets the status Error on the span of a failure. After a denial the
// status remains unset, because the client made the error.
func setStatus(span trace.Span, outcome middleware.Outcome) {
	if outcome.Verdict() == middleware.Fail {
		span.SetStatus(codes.Error, outcome.Reason.Info().Title)
	}
}

// measure records the metrics of a stage. The stage rate_limit has two more.
func (r *Recorder) measure(ctx context.Context, ex *middleware.Exchange, step middleware.Step) {
	records := &r.stages[step.Stage].byReason[step.Outcome.Reason]
	r.duration.Record(ctx, step.Elapsed.Seconds(), records.duration...)
	r.count.Add(ctx, 1, records.count...)
	if step.Stage == middleware.StageRateLimit && ex.Quota.Window > 0 && ex.Quota.Limit > 0 {
		r.used.Record(ctx, float64(ex.Quota.Used)/float64(ex.Quota.Limit))
	}
	if step.Outcome.Reason == middleware.RateLimited {
		r.retry.Record(ctx, ex.Quota.RetryAfter().Seconds())
	}
}

// RequestEnded implements [middleware.Observer]. It measures the request,
// completes the server span or writes the trace of a kept request, and writes
// the log line.
func (r *Recorder) RequestEnded(ctx context.Context, ex *middleware.Exchange, d middleware.Result) {
	req := requestFrom(ctx)
	series := r.routes.bounded(routeSeries{metricMethod(ex.Request.Method), ex.Route, d.Status})
	r.served.Record(req.measuring(ctx), time.Since(req.began).Seconds(), r.series.of(series)...)
	switch {
	case req.sampled:
		span := trace.SpanFromContext(ctx)
		span.SetName(serverSpanName(ex))
		r.describeServer(span, req, ex, d)
	case req.kept:
		r.write(req, ex, d) //nolint:contextcheck // the spans are made after the request, in a new context
	}
	if r.tracing.ratio != nil {
		r.tracing.traceFates.add(req.fate(), 1)
	}
	r.lines.write(d, func() logrus.Fields { return r.fields(req, ex, d) })
}

// serverSpanName returns "{method} {route}", or the method if there is no route.
func serverSpanName(ex *middleware.Exchange) string {
	name := metricMethod(ex.Request.Method)
	if name == names.Other {
		name = "HTTP"
	}
	if ex.Route != "" {
		name += " " + ex.Route
	}
	return name
}

// fate returns the value of [names.AttrFate] for the request's trace.
func (r *requestState) fate() string {
	switch {
	case r.sampled:
		return names.FateSampled
	case r.kept:
		return names.FateKept
	case r.overCap:
		return names.FateOverCap
	}
	return names.FateNotSampled
}
