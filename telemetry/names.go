// Package telemetry turns the pipeline's outcomes into spans, metrics and log
// lines, and decides what of them leaves the process. It is the only
// package that knows OpenTelemetry's SDK and the only one that logs requests.
//
// Every name it uses is in its catalogue (see [Catalogue]), from which the
// instruments are made and observability/TELEMETRY.md is generated.
package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// scope is the instrumentation scope of everything the gateway records itself.
const scope = "tyk_proxy"

// spanPrefix and a stage's name make its span's name.
const spanPrefix = "gateway."

// MessageDecision is the message of a request's log line.
const MessageDecision = "gateway.decision"

// Attributes of our own. The first three are closed sets and safe as metric
// labels; the others are for spans and log lines only.
const (
	AttrStage   = attribute.Key("gateway.stage")
	AttrVerdict = attribute.Key("gateway.verdict")
	AttrReason  = attribute.Key("gateway.reason")

	AttrKeyID     = attribute.Key("gateway.key.id")
	AttrLimit     = attribute.Key("gateway.rate_limit.limit")
	AttrRemaining = attribute.Key("gateway.rate_limit.remaining")
	AttrReset     = attribute.Key("gateway.rate_limit.reset")
	AttrWindow    = attribute.Key("gateway.rate_limit.window")
	AttrSource    = attribute.Key("gateway.rate_limit.source")

	AttrMalformedRules = attribute.Key("gateway.route_check.malformed_rules")

	// AttrFate is what became of a request's trace or of a span.
	AttrFate = attribute.Key("gateway.telemetry.fate")
	// AttrSuppressed counts the log lines that were left out before this one.
	AttrSuppressed = attribute.Key("gateway.log.suppressed")
	// AttrLogDropped counts the log lines that could not be written.
	AttrLogDropped = attribute.Key("gateway.log.dropped")
)

// Attributes of semantic conventions, under the names that this package uses
// for them on spans, metrics and log lines alike.
const (
	attrMethod    = semconv.HTTPRequestMethodKey
	attrRoute     = semconv.HTTPRouteKey
	attrStatus    = semconv.HTTPResponseStatusCodeKey
	attrBodySize  = semconv.HTTPResponseBodySizeKey
	attrScheme    = semconv.URLSchemeKey
	attrURL       = semconv.URLFullKey
	attrErrorType = semconv.ErrorTypeKey
	attrDBSystem  = semconv.DBSystemNameKey
	attrDBOp      = semconv.DBOperationNameKey
)

// Keys of log lines that are no attributes.
const (
	logTraceID  = "trace_id"
	logSpanID   = "span_id"
	logDuration = "duration"
	logError    = "error"
	logStack    = "stack"
)

// Values of [AttrFate] for traces.
const (
	fateSampled    = "sampled"     // exported: the ratio chose it
	fateKept       = "kept"        // exported: it was refused, failed, bypassed or slow, or the backend answered with a 5xx
	fateOverCap    = "over_cap"    // would have been kept, but too many of its kind were
	fateNotSampled = "not_sampled" // allowed and quick, and not chosen by the ratio
)

// Values of [AttrFate] for spans.
const (
	fateExported = "exported" // the collector took it
	fateFailed   = "failed"   // the collector was down, too slow, or refused it
	fateDropped  = "dropped"  // there was no room for it in memory
)

// other stands for everything beyond a closed set, as semantic conventions
// have it.
const other = "_OTHER"

// maxRoutes bounds the routes that become a label, and maxRouteSeries how many
// series they make with the methods and statuses they are answered with.
const (
	maxRoutes      = 100
	maxRouteSeries = 1000
)
