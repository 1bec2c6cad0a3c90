// Package names declares the names of the gateway's telemetry, and its catalogue:
// [Catalogue] lists the metrics, [Spans] the spans, and [Attributes] the gateway's
// own attributes and log fields.
//
// The catalogue is the source of the instruments and of
// observability/TELEMETRY.md. Tests compare it with the dashboards, the rules and
// the output of a running gateway. To add a metric, begin here.
package names

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Scope is the instrumentation scope of the gateway's own telemetry.
const Scope = "tyk_proxy"

// SpanPrefix is the prefix of a stage's name in the name of its span.
const SpanPrefix = "gateway."

// MessageDecision is the message of a request's log line.
const MessageDecision = "gateway.decision"

// MessageSuppressed is the message of a line that only counts requests' lines
// that were left out. It is about no request of its own.
const MessageSuppressed = "log lines were suppressed"

// The gateway's own attributes. The first three have few values and may be metric
// labels. The others are for spans and log lines only.
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

	// AttrFate says whether a trace or a span was exported, and why.
	AttrFate = attribute.Key("gateway.telemetry.fate")
	// AttrSuppressed is the number of omitted log lines before this one.
	AttrSuppressed = attribute.Key("gateway.log.suppressed")
	// AttrLogDropped is the number of dropped log lines.
	AttrLogDropped = attribute.Key("gateway.log.dropped")
)

// Attributes of OpenTelemetry's semantic conventions, on spans, metrics and log
// lines.
const (
	AttrMethod    = semconv.HTTPRequestMethodKey
	AttrRoute     = semconv.HTTPRouteKey
	AttrStatus    = semconv.HTTPResponseStatusCodeKey
	AttrBodySize  = semconv.HTTPResponseBodySizeKey
	AttrScheme    = semconv.URLSchemeKey
	AttrURL       = semconv.URLFullKey
	AttrErrorType = semconv.ErrorTypeKey
	AttrDBSystem  = semconv.DBSystemNameKey
	AttrDBOp      = semconv.DBOperationNameKey
)

// Keys of log lines that are not attributes.
const (
	LogTraceID  = "trace_id"
	LogSpanID   = "span_id"
	LogDuration = "duration"
	LogError    = "error"
	LogStack    = "stack"
)

// Values of [AttrFate] for traces.
const (
	FateSampled    = "sampled"     // exported: the ratio chose it
	FateKept       = "kept"        // exported: it was refused, failed, bypassed or slow, or the backend answered 5xx
	FateOverCap    = "over_cap"    // not exported: the limit of its kind was reached
	FateNotSampled = "not_sampled" // not exported: allowed and fast
)

// Values of [AttrFate] for spans.
const (
	FateExported = "exported" // the collector accepted it
	FateFailed   = "failed"   // the collector was down, too slow, or refused it
	FateDropped  = "dropped"  // the queue was full
)

// Other replaces values outside of a closed set (semantic conventions).
const Other = "_OTHER"
