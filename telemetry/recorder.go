package telemetry

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// Recorder is the one place where an outcome becomes a span, metrics, an event
// and a log line, and where it is decided whether the request's trace is
// exported. It implements [middleware.Observer].
type Recorder struct {
	tracer   trace.Tracer
	sampler  *sampler // nil where tracing is off
	duration metric.Float64Histogram
	count    metric.Int64Counter
	used     metric.Float64Histogram
	retry    metric.Float64Histogram
	fates    *fateCounter
	degraded *degraded
	keyIDs   keyIDs
	lines    *requestLog
	routes   *routeLabels
	stages   map[string]stageRecords
}

// NewRecorder returns a recorder that reports through the providers and the
// logger. keyIDSecret keys the HMAC that makes gateway.key.id of an api key.
func (p *Providers) NewRecorder(log *logrus.Logger, keyIDSecret []byte) (*Recorder, error) {
	r := &Recorder{
		tracer:   p.Tracers.Tracer(scope),
		sampler:  p.sampler,
		fates:    p.traceFates,
		degraded: newDegraded(),
		keyIDs:   keyIDs{secret: keyIDSecret},
		lines:    newRequestLog(log),
		routes:   newRouteLabels(),
		stages:   make(map[string]stageRecords),
	}
	p.shutdown = append(p.shutdown, func(context.Context) error { r.lines.flush(); return nil })
	meter := p.Meters.Meter(scope)
	var err error
	if r.duration, err = newHistogram(meter, metricStageDuration); err != nil {
		return nil, err
	}
	if r.count, err = newCounter(meter, metricDecisions); err != nil {
		return nil, err
	}
	if r.used, err = newHistogram(meter, metricUtilization); err != nil {
		return nil, err
	}
	if r.retry, err = newHistogram(meter, metricRetryAfter); err != nil {
		return nil, err
	}
	if err := r.degraded.observe(meter); err != nil {
		return nil, err
	}
	for _, stage := range middleware.StageNames() {
		r.stages[stage] = newStageRecords(stage)
		for _, records := range r.stages[stage].byReason {
			if records.count != nil {
				// A counter that appears with its first increase hides it from rate().
				r.count.Add(context.Background(), 0, records.count...)
			}
		}
	}
	return r, nil
}

// StageStarted implements [middleware.Observer]. A request that is not recorded
// pays for no span.
func (r *Recorder) StageStarted(ctx context.Context, ex *middleware.Exchange, stage string) context.Context {
	parent := trace.SpanFromContext(ctx)
	if stage == middleware.StageProxy {
		// From here on a sampled request is certain to be exported, so what is
		// measured may carry its trace id. The earlier stages are measured now
		// rather than at the end, which for a stream may be hours away.
		if t := requestTraceFrom(ctx); t != nil {
			t.relay(ex)
			if parent.SpanContext().IsSampled() {
				t.exported.Store(true)
			}
		}
		r.measure(ctx, ex, ex.Trail)
	}
	if !parent.IsRecording() {
		return ctx
	}
	ctx, _ = r.tracer.Start(ctx, r.stages[stage].span) //nolint:spancheck // StageEnded ends it
	return ctx
}

// StageEnded implements [middleware.Observer].
func (r *Recorder) StageEnded(ctx context.Context, ex *middleware.Exchange, step middleware.Step) {
	verdict := step.Outcome.Verdict()
	if verdict == middleware.Fail || verdict == middleware.Bypass {
		r.degraded.mark(step.Stage)
	}
	if step.Stage == middleware.StageProxy {
		if t := requestTraceFrom(ctx); t != nil {
			t.relayed()
		}
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	records := r.stages[step.Stage].byReason[step.Outcome.Reason]
	span.SetAttributes(records.attributes...)
	learned := r.learned(ctx, ex, step.Stage)
	span.SetAttributes(learned...)
	span.AddEvent(EventDecision, records.event, trace.WithAttributes(learned...))
	if verdict == middleware.Fail {
		span.SetStatus(codes.Error, step.Outcome.Reason.Info().Title)
	}
	span.End()
}

// learned returns what is known of the request once a stage has ended, for the
// stage's span: whose request it is, because a trace search matches within one
// span, and what the stage found out.
func (r *Recorder) learned(ctx context.Context, ex *middleware.Exchange, stage string) []attribute.KeyValue {
	if ex.Claims.APIKey == "" {
		return nil
	}
	learned := append(make([]attribute.KeyValue, 0, 6), AttrKeyID.String(r.keyID(ctx, ex)))
	switch {
	case stage == middleware.StageRouteCheck:
		if ex.Route != "" {
			learned = append(learned, attrRoute.String(ex.Route))
		}
		if n := malformedRules(ex); n > 0 {
			learned = append(learned, AttrMalformedRules.Int(n))
		}
	case stage == middleware.StageRateLimit && ex.Quota.Window > 0:
		learned = append(learned,
			AttrLimit.Int64(ex.Quota.Limit),
			AttrRemaining.Int64(ex.Quota.Remaining),
			AttrReset.Float64(ex.Quota.Reset.Seconds()),
			AttrWindow.Float64(ex.Quota.Window.Seconds()),
			AttrSource.String(sourceRedis))
	case stage == middleware.StageProxy && ex.Upstream.Status > 0:
		learned = append(learned, attrStatus.Int(ex.Upstream.Status))
	}
	return learned
}

// keyID returns gateway.key.id, made once for each request: its spans and its
// log line all carry it.
func (r *Recorder) keyID(ctx context.Context, ex *middleware.Exchange) string {
	t := requestTraceFrom(ctx)
	if t == nil {
		return r.keyIDs.of(ex.Claims.APIKey)
	}
	if t.keyID == "" {
		t.keyID = r.keyIDs.of(ex.Claims.APIKey)
	}
	return t.keyID
}

// RequestEnded implements [middleware.Observer]: it decides whether the trace
// is exported, measures what was not measured yet, names the server span after
// the route and writes the request's one log line.
func (r *Recorder) RequestEnded(ctx context.Context, ex *middleware.Exchange, d middleware.Decision) {
	span := trace.SpanFromContext(ctx)
	r.decide(ctx, span, d)
	steps := ex.Trail
	if last := len(steps) - 1; last >= 0 && steps[last].Stage == middleware.StageProxy {
		steps = steps[last:] // the others were measured when it started
	}
	r.measure(ctx, ex, steps)
	r.label(ctx, ex, d.Status)
	if span.IsRecording() {
		span.SetAttributes(r.stages[d.Stage].byReason[d.Outcome.Reason].attributes...)
		if ex.Route != "" {
			span.SetAttributes(attrRoute.String(ex.Route))
		}
		if ex.Claims.APIKey != "" {
			span.SetAttributes(AttrKeyID.String(r.keyID(ctx, ex)))
		}
		switch {
		case d.Outcome.Verdict() == middleware.Fail:
			span.SetStatus(codes.Error, d.Outcome.Reason.Info().Title)
		case d.Status >= http.StatusInternalServerError:
			// The backend's own answer: otelhttp sets the status, but no error.type.
			span.SetAttributes(attrErrorType.String(strconv.Itoa(d.Status)))
		}
	}
	r.lines.write(d, func() logrus.Fields { return r.fields(ctx, ex, d) })
}

// decide settles whether the trace is exported, unless that was settled before:
// the fates add up to the requests.
func (r *Recorder) decide(ctx context.Context, span trace.Span, d middleware.Decision) {
	t := requestTraceFrom(ctx)
	if t == nil || r.sampler == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counted {
		return
	}
	t.counted = true
	fate := r.sampler.fate(span.IsRecording(), t.sampled, d)
	t.exported.Store(fate == fateSampled || fate == fateKept)
	r.fates.add(ctx, fate, 1)
}

func (r *Recorder) measure(ctx context.Context, ex *middleware.Exchange, steps []middleware.Step) {
	if t := requestTraceFrom(ctx); t != nil {
		t.record(ctx)
	}
	for _, step := range steps {
		records := r.stages[step.Stage].byReason[step.Outcome.Reason]
		r.duration.Record(ctx, step.Elapsed.Seconds(), records.duration...)
		r.count.Add(ctx, 1, records.count...)
		if step.Stage == middleware.StageRateLimit && ex.Quota.Window > 0 && ex.Quota.Limit > 0 {
			r.used.Record(ctx, float64(ex.Quota.Used)/float64(ex.Quota.Limit))
		}
		if step.Outcome.Reason == middleware.RateLimited {
			r.retry.Record(ctx, ex.Quota.RetryAfter().Seconds())
		}
	}
}

// label tells otelhttp the route: it reads the request's pattern once the
// handler has returned, for the span's name and for http.route on its metrics.
// A label that is no path goes through its labeler, and leaves the span's name
// to us.
func (r *Recorder) label(ctx context.Context, ex *middleware.Exchange, status int) {
	if ex.Route == "" {
		return
	}
	if label := r.routes.bounded(routeSeries{ex.Request.Method, ex.Route, status}); label != other {
		ex.Request.Pattern = label
		return
	}
	if labeler, ok := otelhttp.LabelerFromContext(ctx); ok {
		labeler.Add(attrRoute.String(other))
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetName(ex.Request.Method + " " + ex.Route)
	}
}

// TraceID returns the id of the request's trace, or "" where it has none.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
