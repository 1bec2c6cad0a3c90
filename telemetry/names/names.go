// Package names has every name that the gateway's telemetry uses, and the
// catalogue of what is recorded under them: [Catalogue] lists the metrics,
// [Spans] the spans, and [Attributes] the attributes and log fields of the
// gateway's own.
//
// The instruments are made from the catalogue, observability/TELEMETRY.md is
// generated from it, and tests compare it with dashboards, rules and what a
// running gateway reports. A new metric therefore begins here.
package names

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Scope is the instrumentation Scope of everything the gateway records itself.
const Scope = "tyk_proxy"

// SpanPrefix and a stage's name make its span's name.
const SpanPrefix = "gateway."

// MessageDecision is the message of a request's log line.
const MessageDecision = "gateway.decision"

// MessageSuppressed is the message of a line that only counts requests' lines
// that were left out. It is about no request of its own.
const MessageSuppressed = "log lines were suppressed"

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

// Keys of log lines that are no attributes.
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
	FateKept       = "kept"        // exported: it was refused, failed, bypassed or slow, or the backend answered with a 5xx
	FateOverCap    = "over_cap"    // would have been kept, but too many of its kind were
	FateNotSampled = "not_sampled" // allowed and quick, and not chosen by the ratio
)

// Values of [AttrFate] for spans.
const (
	FateExported = "exported" // the collector took it
	FateFailed   = "failed"   // the collector was down, too slow, or refused it
	FateDropped  = "dropped"  // there was no room for it in memory
)

// Other stands for everything beyond a closed set, as semantic conventions
// have it.
const Other = "_OTHER"
