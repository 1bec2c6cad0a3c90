package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func pipeline() board {
	return board{
		name: "pipeline", title: "Pipeline", tag: "pipeline",
		description: "What each stage decides, how long it takes, and what it waits for.",
		rows: []row{
			{"Stages side by side", 24, 7, panels{stages()}},
			{"", 8, 7, stageDistributions()},
			{"Verdicts", 12, 10, pipelineVerdicts()},
			{"Where time goes", 12, 8, pipelineTime()},
			{"Redis", 8, 8, append(redisCommands(), redisBatches()...)},
			{"Backend", 8, 8, backend()},
			{"", 12, 8, backendDetails()},
		},
	}
}

// stages is a table with a line for each stage.
func stages() cog.Builder[dashboard.Panel] {
	decided := func(legend string, matchers ...string) *prometheus.DataqueryBuilder {
		return cells(legend, eachStage(sumBy("gateway_stage", rate(decisions, matchers...))))
	}
	took := func(legend string, q float64) *prometheus.DataqueryBuilder {
		return cells(legend, eachStageOrGap(quantile(q, ", gateway_stage", stageDuration)))
	}
	t := cellTable("Stages", "Rates of the stages' verdicts and quantiles of their time to decide. "+
		"A stage sees only what the one before let pass.", units.NoUnit,
		decided("Decisions"), decided("Denied", verdict("deny")),
		decided("Failed", verdict("fail")), decided("Bypassed", verdict("bypass")),
		took("p50", 0.5), took("p95", 0.95), took("p99", 0.99),
		cells("State", orZero("max by (gateway_stage) ("+metric(degraded)+")"))).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(organized(map[string]string{
			"gateway_stage": "Stage", "Value #A": "Decisions", "Value #B": "Denied", "Value #C": "Failed", "Value #D": "Bypassed",
			"Value #E": "p50", "Value #F": "p95", "Value #G": "p99", "Value #H": "State",
		}))
	for _, name := range []string{"Decisions", "Denied", "Failed", "Bypassed"} {
		t.OverrideByName(name, []dashboard.DynamicConfigValue{property("unit", units.RequestsPerSecond)})
	}
	for _, name := range []string{"p50", "p95", "p99"} {
		t.OverrideByName(name, []dashboard.DynamicConfigValue{
			property("unit", units.Seconds), property("mappings", []dashboard.ValueMapping{gap()}),
		})
	}
	for _, p := range []paint{{"Denied", "orange"}, {"Failed", "red"}, {"Bypassed", "purple"}} {
		steps, _ := thresholds(base("text"), from(0.001, p.color)).Build()
		t.OverrideByName(p.name, []dashboard.DynamicConfigValue{property("thresholds", steps), coloredText()})
	}
	return t.OverrideByName("State", []dashboard.DynamicConfigValue{
		property("mappings", []dashboard.ValueMapping{okOrDegraded()}), coloredText(),
	})
}

func stageDistributions() panels {
	of := func(name, what string) cog.Builder[dashboard.Panel] {
		return distribution(name, what+" How many decisions took how long.", units.Seconds, stageDuration, stage(name))
	}
	return panels{
		of("auth", "Verifying the JWT."),
		of("token_lookup", "Fetching the token's record from Redis."),
		of("route_check", "Matching the path against the record's routes."),
		of("rate_limit", "Counting the request in the shared window in Redis."),
		of("proxy", "Relaying the request and the whole response."),
		distribution("whole request", "How many requests took how long, all stages and the response together.",
			units.Seconds, serverDuration),
	}
}

func pipelineVerdicts() panels {
	return panels{
		stacked("Verdicts by stage", "Decisions other than allow, per second.", units.RequestsPerSecond,
			traced("{{gateway_stage}} {{gateway_verdict}}", orZero(sumBy("gateway_stage, gateway_verdict", rate(decisions, notAllowed))))).
			sorted("Mean", "lastNotNull", "mean", "max"),
		reasons("Reasons", "Every reason of every stage in the selected time range. A reason that did not occur stands with 0.",
			orZero(sumBy(reasonLabels, increase(decisions)))).
			OverrideByName("Decisions", []dashboard.DynamicConfigValue{property("decimals", 0)}).
			OverrideByName("Verdict", []dashboard.DynamicConfigValue{
				property("mappings", []dashboard.ValueMapping{verdicts()}), coloredText(),
			}),
	}
}

func pipelineTime() panels {
	return panels{
		stacked("Share of time by stage", "Of all the time that requests spent in the stages, the part of each stage.", units.Seconds,
			graph("{{gateway_stage}}", eachStage(sumBy("gateway_stage", rate(stageDuration+"_sum"))))).
			tabled("lastNotNull").
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModePercent).Group("A")),
		lines("Stage latency p95", "95 of 100 decisions of the stage took less than this. "+
			diamonds, units.Seconds,
			traced("{{gateway_stage}}", eachStageOrGap(quantile(0.95, ", gateway_stage", stageDuration)))).
			tabled("lastNotNull", "max"),
	}
}

func redisCommands() panels {
	byName := func(expr string) string { return sumBy("db_operation_name", expr) }
	latency := p50p95p99(redisDuration)
	// The metric has no exemplars of its own: the stages' panels lead to the traces.
	latency[2].Exemplar(false)
	return panels{
		stacked("Redis commands", "Commands per second, by name. _OTHER are the client's own, such as connecting.", units.OpsPerSecond,
			graph("{{db_operation_name}}", orZero(byName(rate(redisDuration+"_count"))))),
		quantiles("Redis latency", "Quantiles of the duration of commands.", latency).dashed(from(0.05, "red")),
		lines("Redis latency by command", "Mean duration of commands, by name.", units.Seconds,
			graph("{{db_operation_name}}", orGap(mean(byName, redisDuration)))),
		stacked("Redis errors", "Commands per second that failed, by error.", units.OpsPerSecond,
			graph("{{error_type}}", orZero(sumBy("error_type", rate(redisDuration+"_count", `error_type!=""`))))).
			dashed(from(0.001, "red")),
	}
}

func redisBatches() panels {
	return panels{
		lines("Redis in batches", "Commands that share one trip to Redis, gateways to which Redis is silent, and how often that changed. "+
			"While it is silent nothing is sent but probes.", units.Short,
			graph("commands per batch", orZero(ratio(
				sum(rate("gateway_redis_commands_total")), sum(rate("gateway_redis_batches_total"))))),
			graph("silent", orZero(sum(metric("gateway_redis_silent")))),
			graph("changes per second", orZero(sum(rate("gateway_redis_changes_total"))))).
			painted(paint{"silent", "red"}).Decimals(0),
		lines("Waiting for Redis", "Commands that wait to be sent, all that wait, and those per second that were refused "+
			"because too many waited.", units.Short,
			graph("to be sent", orZero(sum(metric("gateway_redis_queued")))),
			graph("in all", orZero(sum(metric("gateway_redis_waiting")))),
			graph("refused per second", orZero(sum(rate("gateway_redis_refused_total"))))).
			dashed(from(1, "red")).painted(paint{"in all", "orange"}, paint{"refused per second", "red"}),
	}
}

func backend() panels {
	return panels{
		stacked("Backend responses", "Responses of the backend per second, by status. Those without one ended in an error.",
			units.RequestsPerSecond,
			graph("{{http_response_status_code}}", orZero(sumBy("http_response_status_code", rate(clientDuration+"_count"))))).
			statuses(),
		quantiles("Backend latency", "Quantiles of the duration of requests to the backend.", p50p95p99(clientDuration)).
			dashed(from(1, "red")),
		bars("Backend failures", "Requests per second that could not be forwarded, by reason.", units.RequestsPerSecond,
			traced("{{gateway_reason}}", orZero(sumBy("gateway_reason", rate(decisions, stage("proxy"), verdict("fail")))))).
			dashed(from(0.001, "red")).DataLinks(reasonTraces()),
	}
}

func backendDetails() panels {
	return panels{
		stacked("Backend errors by type", "Requests to the backend per second that got no usable response, by error.",
			units.RequestsPerSecond,
			graph("{{error_type}}", orZero(sumBy("error_type", rate(clientDuration+"_count", `error_type!=""`))))),
		distribution("Backend latency distribution", "How many requests to the backend took how long.", units.Seconds, clientDuration),
	}
}
