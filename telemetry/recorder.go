package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// stageBuckets are the boundaries of gateway.stage.duration, in seconds: a
// stage without I/O takes microseconds, a slow upstream tens of seconds.
func stageBuckets() []float64 {
	return []float64{
		.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
	}
}

// Recorder is the one place where an outcome becomes a span, metrics and a log
// line. It implements [middleware.Observer].
type Recorder struct {
	tracer   trace.Tracer
	log      *logrus.Logger
	duration metric.Float64Histogram
	count    metric.Int64Counter
	stages   map[string]stageRecords
	routes   *routeLabels
}

// stageRecords is what a stage records, built once at start: nothing of it is
// made again for each request.
type stageRecords struct {
	span     string
	byReason []reasonRecords // indexed by middleware.Reason
}

type reasonRecords struct {
	duration   []metric.RecordOption
	count      []metric.AddOption
	attributes []attribute.KeyValue
}

// NewRecorder returns a recorder that uses the given providers and logger.
func NewRecorder(tracers trace.TracerProvider, meters metric.MeterProvider, log *logrus.Logger) (*Recorder, error) {
	meter := meters.Meter(scope)
	duration, err := meter.Float64Histogram(MetricStageDuration,
		metric.WithUnit("s"),
		metric.WithDescription("Time a stage took to decide; for proxy, to relay the whole response."),
		metric.WithExplicitBucketBoundaries(stageBuckets()...))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", MetricStageDuration, err)
	}
	count, err := meter.Int64Counter(MetricDecisions,
		metric.WithUnit("{decision}"),
		metric.WithDescription("Decisions of the stages."))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", MetricDecisions, err)
	}
	r := &Recorder{
		tracer:   tracers.Tracer(scope),
		log:      log,
		duration: duration,
		count:    count,
		stages:   make(map[string]stageRecords),
		routes:   newRouteLabels(),
	}
	for _, stage := range middleware.StageNames() {
		r.stages[stage] = newStageRecords(stage)
	}
	return r, nil
}

func newStageRecords(stage string) stageRecords {
	all := middleware.Reasons()
	records := stageRecords{span: spanPrefix + stage, byReason: make([]reasonRecords, len(all)+1)}
	for _, reason := range all {
		info := reason.Info()
		if info.Stage != stage && info.Stage != middleware.StageAny {
			continue
		}
		attributes := []attribute.KeyValue{
			AttrStage.String(stage),
			AttrVerdict.String(info.Verdict.String()),
			AttrReason.String(info.Name),
		}
		labels := metric.WithAttributeSet(attribute.NewSet(attributes...))
		records.byReason[reason] = reasonRecords{
			duration:   []metric.RecordOption{labels},
			count:      []metric.AddOption{labels},
			attributes: attributes,
		}
	}
	return records
}

// StageStarted implements [middleware.Observer]. A request that is not recorded
// pays for no span.
func (r *Recorder) StageStarted(ctx context.Context, stage string) context.Context {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx
	}
	ctx, _ = r.tracer.Start(ctx, r.stages[stage].span) //nolint:spancheck // StageEnded ends it
	return ctx
}

// StageEnded implements [middleware.Observer].
func (r *Recorder) StageEnded(
	ctx context.Context, stage string, elapsed time.Duration, ex *middleware.Exchange, o middleware.Outcome,
) {
	records := r.stages[stage].byReason[o.Reason]
	r.duration.Record(ctx, elapsed.Seconds(), records.duration...)
	r.count.Add(ctx, 1, records.count...)
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(records.attributes...)
	if stage == middleware.StageRateLimit && ex.Quota.Window > 0 {
		span.SetAttributes(quotaAttributes(ex.Quota)...)
	}
	if stage == middleware.StageProxy && ex.Upstream.Status > 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(ex.Upstream.Status))
	}
	if o.Verdict() == middleware.Fail {
		span.SetAttributes(semconv.ErrorTypeKey.String(o.Reason.String()))
		span.SetStatus(codes.Error, o.Reason.Info().Title)
	}
	span.End()
}

// RequestEnded implements [middleware.Observer]: it names the server span after
// the route and writes the request's one log line.
func (r *Recorder) RequestEnded(ctx context.Context, ex *middleware.Exchange, d middleware.Decision) {
	if ex.Route != "" {
		// otelhttp reads the pattern once the handler returns, for the span's name
		// and for http.route on its metrics.
		ex.Request.Pattern = r.routes.bounded(ex.Route)
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(r.stages[d.Stage].byReason[d.Outcome.Reason].attributes...)
		if ex.Route != "" {
			span.SetAttributes(semconv.HTTPRoute(ex.Route))
		}
		if d.Outcome.Verdict() == middleware.Fail {
			span.SetAttributes(semconv.ErrorTypeKey.String(d.Outcome.Reason.String()))
		}
	}
	r.logRequest(ctx, ex, d)
}

func (r *Recorder) logRequest(ctx context.Context, ex *middleware.Exchange, d middleware.Decision) {
	level := levelOf(d.Outcome.Verdict())
	if !r.log.IsLevelEnabled(level) {
		return
	}
	fields := logrus.Fields{
		string(semconv.HTTPRequestMethodKey):      methodLabel(ex.Request.Method),
		string(semconv.HTTPRouteKey):              ex.Route,
		string(semconv.HTTPResponseStatusCodeKey): d.Status,
		string(semconv.HTTPResponseBodySizeKey):   d.Bytes,
		logDuration:                               d.Elapsed.Seconds(),
		string(AttrStage):                         d.Stage,
		string(AttrVerdict):                       d.Outcome.Verdict().String(),
		string(AttrReason):                        d.Outcome.Reason.String(),
		logTraceID:                                TraceID(ctx),
	}
	if d.Outcome.Err != nil {
		fields[logError] = d.Outcome.Err.Error()
		var fault *middleware.PanicError
		if errors.As(d.Outcome.Err, &fault) {
			fields[logStack] = string(fault.Stack)
		}
	}
	r.log.WithFields(fields).Log(level, "request")
}

func levelOf(v middleware.Verdict) logrus.Level {
	switch v {
	case middleware.Allow:
		return logrus.DebugLevel
	case middleware.Deny:
		return logrus.InfoLevel
	case middleware.Bypass:
		return logrus.WarnLevel
	case middleware.Fail:
		return logrus.ErrorLevel
	}
	return logrus.ErrorLevel
}

func quotaAttributes(q middleware.Quota) []attribute.KeyValue {
	return []attribute.KeyValue{
		AttrLimit.Int64(q.Limit),
		AttrRemaining.Int64(q.Remaining),
		AttrReset.Float64(q.Reset.Seconds()),
		AttrWindow.Float64(q.Window.Seconds()),
	}
}

// TraceID returns the id of the request's trace, or "" where it has none.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
