package telemetry

import (
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// stageRecords are the span name and the metric options of a stage. They are
// built once at the start, so that a request does not allocate them.
type stageRecords struct {
	span     string
	byReason []reasonRecords // indexed by middleware.Reason
}

type reasonRecords struct {
	duration   []metric.RecordOption // labels stage and verdict
	count      []metric.AddOption    // labels stage, verdict and reason
	attributes []attribute.KeyValue  // of the span
}

// newStageRecords builds the records for each reason of the stage.
func newStageRecords(stage string) stageRecords {
	records := stageRecords{span: names.SpanPrefix + stage, byReason: make([]reasonRecords, len(middleware.Reasons())+1)}
	for _, reason := range middleware.ReasonsOf(stage) {
		info := reason.Info()
		decision := []attribute.KeyValue{
			names.AttrStage.String(stage),
			names.AttrVerdict.String(info.Verdict.String()),
			names.AttrReason.String(info.Name),
		}
		attributes := slices.Clone(decision)
		if info.Verdict == middleware.Fail {
			attributes = append(attributes, names.AttrErrorType.String(info.Name))
		}
		records.byReason[reason] = reasonRecords{
			duration:   []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(decision[:2]...))},
			count:      []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(decision...))},
			attributes: attributes,
		}
	}
	return records
}

// appendFindings appends the attributes of what a stage found. Each stage's span
// has the key's id, because a search for traces matches attributes of one span.
func (r *Recorder) appendFindings(
	attrs []attribute.KeyValue, req *requestState, ex *middleware.Exchange, stage string,
) []attribute.KeyValue {
	if ex.Claims.APIKey == "" {
		return attrs
	}
	attrs = append(attrs, names.AttrKeyID.String(r.keyID(req, ex)))
	switch {
	case stage == middleware.StageRouteCheck:
		if ex.Route != "" {
			attrs = append(attrs, names.AttrRoute.String(ex.Route))
		}
		if n := malformedRules(ex); n > 0 {
			attrs = append(attrs, names.AttrMalformedRules.Int(n))
		}
	case stage == middleware.StageRateLimit && ex.Quota.Window > 0:
		attrs = append(attrs,
			names.AttrLimit.Int64(ex.Quota.Limit),
			names.AttrRemaining.Int64(ex.Quota.Remaining()),
			names.AttrReset.Float64(ex.Quota.Reset.Seconds()),
			names.AttrWindow.Float64(ex.Quota.Window.Seconds()),
			names.AttrSource.String(ex.Quota.Source))
	case stage == middleware.StageProxy && ex.Upstream.Status > 0:
		attrs = append(attrs, names.AttrStatus.Int(ex.Upstream.Status))
	}
	return attrs
}

// keyID returns gateway.key.id. It computes the id once for each request.
func (r *Recorder) keyID(req *requestState, ex *middleware.Exchange) string {
	if req.keyID == "" {
		req.keyID = r.keyIDs.of(ex.Claims.APIKey)
	}
	return req.keyID
}

// describe sets the attributes and the status of a stage's span.
func (r *Recorder) describe(span trace.Span, req *requestState, ex *middleware.Exchange, step middleware.Step) {
	records := &r.stages[step.Stage].byReason[step.Outcome.Reason]
	req.scratch = r.appendFindings(append(req.scratch[:0], records.attributes...), req, ex, step.Stage)
	span.SetAttributes(req.scratch...)
	setStatus(span, step.Outcome)
}

// describeServer sets the attributes and the status of the server span.
func (r *Recorder) describeServer(span trace.Span, req *requestState, ex *middleware.Exchange, d middleware.Result) {
	attrs := req.scratch[:0]
	attrs = append(attrs, r.stages[d.Stage].byReason[d.Outcome.Reason].attributes...)
	if ex.Route != "" {
		attrs = append(attrs, names.AttrRoute.String(ex.Route))
	}
	if ex.Claims.APIKey != "" {
		attrs = append(attrs, names.AttrKeyID.String(r.keyID(req, ex)))
	}
	if d.Outcome.Verdict() != middleware.Fail && d.Status >= 500 {
		// The backend answered with a 5xx. otelhttp v0.72 sets no error.type for it.
		attrs = append(attrs, names.AttrErrorType.String(strconv.Itoa(d.Status)))
	}
	if d.Bytes > 0 {
		attrs = append(attrs, names.AttrBodySize.Int64(d.Bytes))
	}
	if d.Status > 0 {
		attrs = append(attrs, names.AttrStatus.Int(d.Status))
	}
	req.scratch = attrs
	span.SetAttributes(attrs...)
	setStatus(span, d.Outcome)
}

// methodAttributes returns the known method or _OTHER, and the original method
// if it differs (OpenTelemetry semantic conventions for HTTP spans).
func methodAttributes(method string) []attribute.KeyValue {
	known := metricMethod(method)
	if known == method {
		return []attribute.KeyValue{names.AttrMethod.String(known)}
	}
	return []attribute.KeyValue{names.AttrMethod.String(known), semconv.HTTPRequestMethodOriginal(fitting(method))}
}
