package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// Metrics that several queries ask for.
const (
	decisions      = "gateway_decisions_total"
	degraded       = "gateway_degraded"
	stageDuration  = "gateway_stage_duration_seconds"
	utilization    = "gateway_rate_limit_utilization"
	retryAfter     = "gateway_rate_limit_retry_after_seconds"
	serverDuration = "http_server_request_duration_seconds"
	clientDuration = "http_client_request_duration_seconds"
	redisDuration  = "db_client_operation_duration_seconds"
)

// Matchers of the decisions' labels.
const (
	notAllowed = `gateway_verdict!="allow"`
	limited    = `gateway_reason="rate_limited"`
)

func stage(name string) string { return fmt.Sprintf("gateway_stage=%q", name) }

func verdict(name string) string { return fmt.Sprintf("gateway_verdict=%q", name) }

// metric selects a metric of the instances that the variables select.
func metric(name string, matchers ...string) string {
	return name + "{" + strings.Join(append([]string{`job=~"$job"`, `instance=~"$instance"`}, matchers...), ", ") + "}"
}

// ofJob selects what is recorded for a whole job and has no instance.
func ofJob(name string) string { return name + `{job=~"$job"}` }

func rate(name string, matchers ...string) string {
	return "rate(" + metric(name, matchers...) + "[$__rate_interval])"
}

// increase is over the whole range that is looked at.
func increase(name string, matchers ...string) string {
	return "increase(" + metric(name, matchers...) + "[$__range])"
}

func sum(expr string) string { return "sum(" + expr + ")" }

func sumBy(labels, expr string) string { return "sum by (" + labels + ") (" + expr + ")" }

// orZero shows 0 where nothing happened. "No data" would look like an error.
func orZero(expr string) string { return expr + " or on() vector(0)" }

// orGap shows a gap where nothing was measured: there is no duration of nothing,
// and 0 would look like a good one. A label's value that has NaN is left out, and
// one NaN (0/0) stands for all if no value is left.
func orGap(expr string) string { return expr + " >= 0 or on() vector(0/0)" }

// eachStage gives a result for every stage: 0 for those that expr has none for.
func eachStage(expr string) string {
	return expr + " or 0 * max by (gateway_stage) (" + metric(degraded) + ")"
}

// eachStageOrGap gives a result for every stage, like [orGap].
func eachStageOrGap(expr string) string { return eachStage(expr+" >= 0") + " / 0" }

// ratio has no result where the divisor is 0.
func ratio(part, whole string) string { return "(" + part + " / (" + whole + " > 0))" }

// mean returns the mean of a histogram, which labels may group.
func mean(of func(expr string) string, histogram string, matchers ...string) string {
	return ratio(of(rate(histogram+"_sum", matchers...)), of(rate(histogram+"_count", matchers...)))
}

// quantile returns a quantile of a histogram by labels besides le, for example
// ", http_route". It is NaN where nothing was measured.
func quantile(q float64, labels, histogram string, matchers ...string) string {
	return fmt.Sprintf("histogram_quantile(%v, %s)", q, sumBy("le"+labels, rate(histogram+"_bucket", matchers...)))
}

// requests is the rate of what the first stage looked at.
func requests() string { return sum(rate(decisions, stage("auth"))) }

// limitedShare is the part of all requests that were over the limit.
func limitedShare() string { return orZero(ratio(sum(rate(decisions, limited)), requests())) }

// errorShare is the part of all requests that were answered 5xx. The counters
// are recorded by rules.
func errorShare(legend string) *prometheus.DataqueryBuilder {
	return graph(legend, orZero(ratio(
		sum(rate("instance:http_server_request_errors:count")), sum(rate("instance:http_server_requests:count")),
	))).Interval("15s") // at which rules are evaluated: a shorter window would see one sample
}

// graph is a query over the time range.
func graph(legend, expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(expr).LegendFormat(legend).Range()
}

// diamonds says in a panel's description what its exemplars are. Prometheus keeps
// samples on a volume, Jaeger keeps traces in memory: observability/jaeger/config.yaml
// says why.
const diamonds = "The diamonds are single requests: click one for its trace. " +
	"Jaeger keeps the latest 30,000 traces, and none across a restart: older diamonds lead nowhere."

// traced is a query whose exemplars are shown: diamonds that lead to traces.
func traced(legend, expr string) *prometheus.DataqueryBuilder {
	return graph(legend, expr).Exemplar(true)
}

// latest is a query for the end of the time range.
func latest(legend, expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(expr).LegendFormat(legend).Instant()
}

// cells is a query for the rows of a table.
func cells(legend, expr string) *prometheus.DataqueryBuilder {
	return latest(legend, expr).Format(prometheus.PromQueryFormatTable)
}

// perInstance is a query with a series for each instance.
func perInstance(expr string) *prometheus.DataqueryBuilder {
	return graph("{{instance}}", orZero(sumBy("instance", expr)))
}

// byVerdict returns a query for the rate of decisions with a verdict.
func byVerdict(legend, name string, matchers ...string) *prometheus.DataqueryBuilder {
	return graph(legend, orZero(sum(rate(decisions, append(matchers, verdict(name))...))))
}

// p50p95p99 are three quantiles of a histogram. The highest leads to traces.
func p50p95p99(histogram string, matchers ...string) []*prometheus.DataqueryBuilder {
	return []*prometheus.DataqueryBuilder{
		graph("p50", orGap(quantile(0.5, "", histogram, matchers...))),
		graph("p95", orGap(quantile(0.95, "", histogram, matchers...))),
		traced("p99", orGap(quantile(0.99, "", histogram, matchers...))),
	}
}

// targets returns the queries as panels take them, with the ids A, B, C and so on.
func targets(queries ...*prometheus.DataqueryBuilder) []cog.Builder[variants.Dataquery] {
	list := make([]cog.Builder[variants.Dataquery], 0, len(queries))
	for i, q := range queries {
		list = append(list, q.RefId(string(rune('A'+i))))
	}
	return list
}

// jaegerQuery is a query to Jaeger, for which the SDK v0.0.22 has no builder.
func jaegerQuery(query map[string]any) cog.Builder[variants.Dataquery] {
	query["refId"] = "A"
	return literal[variants.Dataquery]{variants.UnknownDataquery(query)}
}
