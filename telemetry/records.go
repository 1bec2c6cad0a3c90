package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
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
	event      trace.EventOption
}

func newStageRecords(stage string) stageRecords {
	records := stageRecords{span: spanPrefix + stage, byReason: make([]reasonRecords, len(middleware.Reasons())+1)}
	for _, reason := range middleware.ReasonsOf(stage) {
		info := reason.Info()
		decision := []attribute.KeyValue{
			AttrStage.String(stage),
			AttrVerdict.String(info.Verdict.String()),
			AttrReason.String(info.Name),
		}
		attributes := slices.Clone(decision)
		if info.Verdict == middleware.Fail {
			attributes = append(attributes, attrErrorType.String(info.Name))
		}
		records.byReason[reason] = reasonRecords{
			duration:   []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(decision[:2]...))},
			count:      []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(decision...))},
			attributes: attributes,
			event:      trace.WithAttributes(decision...),
		}
	}
	return records
}
