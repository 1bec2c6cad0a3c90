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

// stageRecords is what a stage records, built once at start: nothing of it is
// made again for each request.
type stageRecords struct {
	span     string
	byReason []reasonRecords // indexed by middleware.Reason
}

type reasonRecords struct {
	duration   []metric.RecordOption
	count      []metric.AddOption
	attributes []attribute.KeyValue // of the span
}

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

// learned appends what is known of the request once a stage has ended, for the
// stage's span: whose request it is, because a trace search matches within one
// span, and what the stage found out.
func (r *Recorder) learned(learned []attribute.KeyValue, req *requestState, ex *middleware.Exchange, stage string) []attribute.KeyValue {
	if ex.Claims.APIKey == "" {
		return learned
	}
	learned = append(learned, names.AttrKeyID.String(r.keyID(req, ex)))
	switch {
	case stage == middleware.StageRouteCheck:
		if ex.Route != "" {
			learned = append(learned, names.AttrRoute.String(ex.Route))
		}
		if n := malformedRules(ex); n > 0 {
			learned = append(learned, names.AttrMalformedRules.Int(n))
		}
	case stage == middleware.StageRateLimit && ex.Quota.Window > 0:
		learned = append(learned,
			names.AttrLimit.Int64(ex.Quota.Limit),
			names.AttrRemaining.Int64(ex.Quota.Remaining()),
			names.AttrReset.Float64(ex.Quota.Reset.Seconds()),
			names.AttrWindow.Float64(ex.Quota.Window.Seconds()),
			names.AttrSource.String(ex.Quota.Source))
	case stage == middleware.StageProxy && ex.Upstream.Status > 0:
		learned = append(learned, names.AttrStatus.Int(ex.Upstream.Status))
	}
	return learned
}

// keyID returns gateway.key.id, made once for each request: its spans and its
// log line all carry it.
func (r *Recorder) keyID(req *requestState, ex *middleware.Exchange) string {
	if req == nil {
		return r.keyIDs.of(ex.Claims.APIKey)
	}
	if req.keyID == "" {
		req.keyID = r.keyIDs.of(ex.Claims.APIKey)
	}
	return req.keyID
}

// describe says on a stage's span how it ended. A denial leaves the status
// unset: the client is at fault.
func (r *Recorder) describe(span trace.Span, req *requestState, ex *middleware.Exchange, step middleware.Step) {
	records := &r.stages[step.Stage].byReason[step.Outcome.Reason]
	req.scratch = r.learned(append(req.scratch[:0], records.attributes...), req, ex, step.Stage)
	span.SetAttributes(req.scratch...) // copies them
	setStatus(span, step.Outcome)
}

// resultAttributes returns what the server span says of how the request ended,
// until the next use of req.scratch.
func (r *Recorder) resultAttributes(req *requestState, ex *middleware.Exchange, d middleware.Result) []attribute.KeyValue {
	attrs := req.scratch[:0]
	attrs = append(attrs, r.stages[d.Stage].byReason[d.Outcome.Reason].attributes...)
	if ex.Route != "" {
		attrs = append(attrs, names.AttrRoute.String(ex.Route))
	}
	if ex.Claims.APIKey != "" {
		attrs = append(attrs, names.AttrKeyID.String(r.keyID(req, ex)))
	}
	if d.Outcome.Verdict() != middleware.Fail && d.Status >= 500 {
		// The backend's own answer: otelhttp sets the status, but no error.type.
		attrs = append(attrs, names.AttrErrorType.String(strconv.Itoa(d.Status)))
	}
	if d.Bytes > 0 {
		attrs = append(attrs, names.AttrBodySize.Int64(d.Bytes))
	}
	if d.Status > 0 {
		attrs = append(attrs, names.AttrStatus.Int(d.Status))
	}
	req.scratch = attrs
	return attrs
}

// methodAttributes returns the method as semantic conventions have it: one of
// the known ones or _OTHER, beside the original if that is another.
func methodAttributes(method string) []attribute.KeyValue {
	known := metricMethod(method)
	if known == method {
		return []attribute.KeyValue{names.AttrMethod.String(known)}
	}
	return []attribute.KeyValue{names.AttrMethod.String(known), semconv.HTTPRequestMethodOriginal(fitting(method))}
}
