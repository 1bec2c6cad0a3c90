package names

import (
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"tyk_proxy/middleware"
)

// Kind is a metric's instrument.
type Kind string

// The instruments in use.
const (
	KindCounter       Kind = "counter"
	KindUpDownCounter Kind = "updowncounter"
	KindGauge         Kind = "gauge"
	KindHistogram     Kind = "histogram"
)

// Metric is one metric of the catalogue.
type Metric struct {
	Name    string // of OpenTelemetry; see PrometheusName
	Kind    Kind
	Unit    string // UCUM
	Meaning string
	Labels  []attribute.Key
	Buckets []float64 // histograms only
}

// Span is one kind of span of the catalogue.
type Span struct {
	Name       string
	SpanKind   string
	Parent     string
	Meaning    string
	Attributes []attribute.Key
}

// Attribute is one of the gateway's own attributes or log fields.
type Attribute struct {
	Key     attribute.Key
	On      string // where it may occur
	Meaning string
}

// Metric names.
const (
	MetricStageDuration  = "gateway.stage.duration"
	MetricDecisions      = "gateway.decisions"
	MetricDegraded       = "gateway.degraded"
	MetricUtilization    = "gateway.rate_limit.utilization"
	MetricRetryAfter     = "gateway.rate_limit.retry_after"
	MetricClockOffset    = "gateway.clock.offset"
	MetricTraces         = "gateway.telemetry.traces"
	MetricSpans          = "gateway.telemetry.spans"
	MetricLogDropped     = "gateway.log.dropped"
	MetricServerDuration = "http.server.request.duration"
	MetricServerActive   = "http.server.active_requests"
	MetricClientDuration = "http.client.request.duration"
	MetricDBDuration     = "db.client.operation.duration"
	MetricRedisQueued    = "gateway.redis.queued"
	MetricRedisWaiting   = "gateway.redis.waiting"
	MetricRedisCommands  = "gateway.redis.commands"
	MetricRedisBatches   = "gateway.redis.batches"
	MetricRedisRefused   = "gateway.redis.refused"
	MetricRedisSilent    = "gateway.redis.silent"
	MetricRedisChanges   = "gateway.redis.changes"
	MetricCacheHits      = "gateway.redis.cache.hits"
	MetricCacheMisses    = "gateway.redis.cache.misses"
	MetricCacheEntries   = "gateway.redis.cache.entries"
)

// Catalogue returns every metric that the gateway records with OpenTelemetry.
// Prometheus's collectors report the Go runtime and the process (go_*,
// process_*), and target_info has the resource.
func Catalogue() []Metric {
	decision := []attribute.Key{AttrStage, AttrVerdict, AttrReason}
	return []Metric{
		{MetricStageDuration, KindHistogram, "s", "Time a stage took to decide; for proxy, to relay the whole response.",
			[]attribute.Key{AttrStage, AttrVerdict}, stageBuckets()},
		{MetricDecisions, KindCounter, "{decision}", "Decisions of the stages.", decision, nil},
		{MetricDegraded, KindGauge, "{stage}", "1 while a stage failed or was bypassed in the last 15 s, else 0.",
			[]attribute.Key{AttrStage}, nil},
		{MetricUtilization, KindHistogram, "1", "Share of the token's limit that was used up at each decision of the limiter; " +
			"above 1 the request was refused.", nil, utilizationBuckets()},
		{MetricRetryAfter, KindHistogram, "s", "Retry-After that refused requests were given.", nil, retryBuckets()},
		{MetricClockOffset, KindGauge, "s", "How far Redis' clock is ahead of this gateway's, at the last count.", nil, nil},
		{MetricTraces, KindCounter, "{trace}", "What became of the traces of requests: exported by the ratio (sampled) or for what " +
			"happened (kept: refused, failed, bypassed, slow, or a 5xx of the backend's), or not exported " +
			"(over_cap, not_sampled).",
			[]attribute.Key{AttrFate}, nil},
		{MetricSpans, KindCounter, "{span}", "What became of the spans to be exported: taken by the collector (exported), refused or " +
			"not reached (failed), or no room in memory (dropped).", []attribute.Key{AttrFate}, nil},
		{MetricLogDropped, KindCounter, "{line}", "Log lines that were dropped because the log was not read fast enough.", nil, nil},
		{MetricServerDuration, KindHistogram, "s", "Duration of requests, from their first to the response's last byte.",
			[]attribute.Key{AttrMethod, AttrRoute, AttrStatus}, requestBuckets()},
		{MetricServerActive, KindUpDownCounter, "{request}", "Requests that are being served.",
			[]attribute.Key{AttrMethod, AttrScheme}, nil},
		{MetricClientDuration, KindHistogram, "s", "Time from a request to the backend until its response's headers.",
			[]attribute.Key{AttrMethod, AttrStatus, AttrErrorType}, requestBuckets()},
		{MetricDBDuration, KindHistogram, "s", "Duration of Redis commands.",
			[]attribute.Key{AttrDBSystem, AttrDBOp, AttrErrorType}, stageBuckets()},
		{MetricRedisQueued, KindUpDownCounter, "{command}", "Commands that wait to be sent to Redis.", nil, nil},
		{MetricRedisWaiting, KindUpDownCounter, "{command}", "Commands that wait to be sent or for their answer.", nil, nil},
		{MetricRedisCommands, KindCounter, "{command}", "Commands for the shared connection to Redis, those included that " +
			"were refused.", nil, nil},
		{MetricRedisBatches, KindCounter, "{batch}", "Batches of commands that were sent to Redis.", nil, nil},
		{MetricRedisRefused, KindCounter, "{command}", "Commands that were refused because too many waited.", nil, nil},
		{MetricRedisSilent, KindGauge, "{state}", "1 while Redis does not answer and nothing is sent to it, else 0.", nil, nil},
		{MetricRedisChanges, KindCounter, "{change}", "How often Redis fell silent or answered again.", nil, nil},
		{MetricCacheHits, KindCounter, "{record}", "Records that were in memory.", nil, nil},
		{MetricCacheMisses, KindCounter, "{record}", "Records that were not in memory, or waited for another reader.", nil, nil},
		{MetricCacheEntries, KindUpDownCounter, "{record}", "Records in memory.", nil, nil},
	}
}

// MetricNamed returns a metric of the catalogue. It panics if the name is unknown.
func MetricNamed(name string) Metric {
	for _, m := range Catalogue() {
		if m.Name == name {
			return m
		}
	}
	panic("telemetry: no metric " + name + " in the catalogue")
}

// Spans returns every kind of span that a request can have.
func Spans() []Span {
	decision := []attribute.Key{AttrStage, AttrVerdict, AttrReason}
	stage := func(name, meaning string, more ...attribute.Key) Span {
		return Span{SpanPrefix + name, "INTERNAL", "the server span", meaning,
			slices.Concat(decision, []attribute.Key{AttrKeyID}, more, []attribute.Key{AttrErrorType})}
	}
	return []Span{
		{"{method} {route}, or {method}", "SERVER", "none; the caller's span from a trusted peer, else a link to it",
			"The whole request. Its stage, verdict and reason are those that decided. error.type is the " +
				"reason of a failure, or the status code where the backend itself answered with a 5xx.",
			slices.Concat(decision, []attribute.Key{AttrKeyID, AttrRoute, AttrMethod, AttrStatus, AttrErrorType})},
		stage(middleware.StageAuth, "Verifying the JWT."),
		stage(middleware.StageTokenLookup, "Fetching the token's record."),
		stage(middleware.StageRouteCheck, "Matching the path against the record's routes.", AttrRoute, AttrMalformedRules),
		stage(middleware.StageRateLimit, "Counting the request in the shared window.",
			AttrLimit, AttrRemaining, AttrReset, AttrWindow, AttrSource),
		stage(middleware.StageProxy, "Relaying the request and the whole response.", AttrStatus),
		{"{redis command}", "CLIENT", "gateway.token_lookup or gateway.rate_limit",
			"One command, without its arguments.", []attribute.Key{AttrErrorType}},
		{"HTTP {method}", "CLIENT", "gateway.proxy", "The request to the backend, which receives this span's traceparent; " +
			"its URL is without the query.", []attribute.Key{AttrMethod, AttrURL, AttrStatus, AttrErrorType}},
	}
}

// Attributes returns the gateway's own attributes and log fields.
func Attributes() []Attribute {
	const everywhere = "metrics, spans, log lines"
	const inside = "spans, log lines"
	return []Attribute{
		{AttrStage, everywhere, "The stage: auth, token_lookup, route_check, rate_limit, proxy."},
		{AttrVerdict, everywhere, "allow, deny (the client is at fault), fail (the gateway or what it needs is), " +
			"bypass (could not decide, policy lets it pass)."},
		{AttrReason, everywhere, "Why, from the closed table of reasons."},
		{AttrKeyID, inside, "Which api key: the first 16 hex digits of its HMAC-SHA-256 under telemetry.key_id_secret. " +
			"The same key has the same id; the id does not give the key away."},
		{AttrLimit, inside, "Requests per window that the token's record allows."},
		{AttrRemaining, inside, "Requests that are left in the window."},
		{AttrReset, inside, "Seconds until the window ends."},
		{AttrWindow, inside, "Length of the window, seconds."},
		{AttrSource, inside, "Where the request was counted: redis, or memory if the gateway knew that the window is used up."},
		{AttrMalformedRules, inside, "Rules of the record's allowed_routes that cannot be read, and so allow nothing; absent if none."},
		{AttrFate, "metrics", "What became of a trace (sampled, kept, over_cap, not_sampled) or of a span " +
			"(exported, failed, dropped)."},
		{AttrSuppressed, "log lines", "Log lines of the same stage and reason that were left out since the last one."},
		{AttrLogDropped, "log lines", "Log lines that were dropped because the log was not read fast enough, since the last such line."},
		{LogTraceID, "log lines, problem bodies", "The trace to look for; also in the response header telemetry.trace_id_header."},
		{LogSpanID, "log lines", "The server span."},
		{LogDuration, "log lines", "Seconds the request took."},
		{LogError, "log lines", "The cause of a fail or bypass."},
		{LogStack, "log lines", "Where a panic happened."},
	}
}

// stageBuckets are boundaries in seconds. A stage without I/O takes microseconds,
// a slow upstream tens of seconds.
func stageBuckets() []float64 {
	return []float64{
		.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
	}
}

// requestBuckets are the boundaries of the semantic conventions for HTTP, with
// lower ones added: most requests take less than their first boundary.
func requestBuckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30}
}

// retryBuckets are boundaries in seconds, up to the longest window.
func retryBuckets() []float64 {
	return []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 3600, 21600, 86400}
}

func utilizationBuckets() []float64 {
	return []float64{.1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 1.5, 2, 5, 10}
}

// PrometheusName returns the metric's name in Prometheus, without the suffixes
// _bucket, _sum and _count of a histogram.
func (m Metric) PrometheusName() string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	switch {
	case m.Kind == KindCounter:
		return name + "_total"
	case m.Unit == "s":
		return name + "_seconds"
	case m.Unit == "1" && m.Kind == KindGauge:
		return name + "_ratio"
	}
	return name
}

// LabelName returns the name of an attribute's label in Prometheus.
func LabelName(key attribute.Key) string { return strings.ReplaceAll(string(key), ".", "_") }
