// Package telemetry turns the pipeline's outcomes into spans, metrics and log
// lines, and sets up where they go. It is the only package that knows
// OpenTelemetry's SDK and the only one that logs requests.
package telemetry

import "go.opentelemetry.io/otel/attribute"

// scope is the instrumentation scope of everything the gateway records itself.
const scope = "tyk_proxy"

// Metric names. Units are in the instruments; all durations are seconds.
const (
	MetricStageDuration = "gateway.stage.duration"
	MetricDecisions     = "gateway.decisions"
)

// spanPrefix and a stage's name make its span's name.
const spanPrefix = "gateway."

// Attributes, the same on spans, metrics and log lines. The first three are
// closed sets and safe as metric labels; the others are for spans and log
// lines only.
const (
	AttrStage   = attribute.Key("gateway.stage")
	AttrVerdict = attribute.Key("gateway.verdict")
	AttrReason  = attribute.Key("gateway.reason")

	AttrLimit     = attribute.Key("gateway.rate_limit.limit")
	AttrRemaining = attribute.Key("gateway.rate_limit.remaining")
	AttrReset     = attribute.Key("gateway.rate_limit.reset")
	AttrWindow    = attribute.Key("gateway.rate_limit.window")
)

// Keys of the request's log line that have no constant in semconv's form.
const (
	logTraceID  = "trace_id"
	logDuration = "duration"
	logError    = "error"
	logStack    = "stack"
)

// routeOther stands for every route beyond the first maxRoutes on metrics.
const (
	routeOther = "_OTHER"
	maxRoutes  = 100
)
