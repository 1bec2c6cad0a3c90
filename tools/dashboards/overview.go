package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func overview() board {
	return board{
		name: "overview", title: "Gateway overview", tag: "gateway",
		description: "Is the gateway serving, how fast, and what does it refuse?",
		rows: []row{
			{"At a glance", 3, 4, overviewNumbers()},
			{"Traffic", 12, 8, overviewTraffic()},
			{"Decisions", 12, 8, overviewDecisions()},
			{"Objectives and health", 8, 8, overviewHealth()},
		},
	}
}

func overviewNumbers() panels {
	budget := []dashboard.Threshold{base("red"), from(0, "orange"), from(0.5, "green")}
	return panels{
		number("Requests", "Requests per second that were looked at, whatever became of them.",
			units.RequestsPerSecond, orZero(requests())),
		number("Errors", "Share of the requests that ended in a 5xx: the gateway's failures and the backend's.",
			units.PercentUnit, "", base("green"), from(0.001, "orange"), from(0.01, "red")).
			Targets(targets(errorShare("Errors"))).Decimals(2),
		number("Availability, 30 days", "Share of the last 30 days' requests that were not answered 5xx, all instances together. "+
			"The objective is 99.9 %.",
			units.PercentUnit, "1 - ("+orZero("max("+ofJob("job:http_server_request_errors:ratio_rate30d")+")")+")",
			base("red"), from(0.999, "green")).Decimals(3).GraphMode(common.BigValueGraphModeNone),
		number("Error budget left", "What is left of the 0.1 % of the last 30 days' requests that may be answered 5xx, "+
			"all instances together. Below 0 the objective is missed.",
			units.PercentUnit, "min("+ofJob("job:http_server_request_errors:budget_left30d")+") or on() vector(1)",
			budget...).Decimals(1),
		number("Latency budget left", "What is left of the 1 % of the last 30 days' requests that may take longer than 0.25 s, "+
			"all instances together. Below 0 the objective is missed.",
			units.PercentUnit, "min("+ofJob("job:http_server_request_slow:budget_left30d")+") or on() vector(1)",
			budget...).Decimals(1),
		number("Over the limit", "Share of the requests that were refused because their token's limit was used up: 429.",
			units.PercentUnit, limitedShare(), base("text"), from(0.05, "yellow"), from(0.25, "orange")).Decimals(1).
			Links(one(to("Rate-limit rejections", "/d/"+uid("rate-limit")+"?${__url_time_range}&${__all_variables}"))),
		number("Latency p95", "95 of 100 requests took less than this, from their first byte to the response's last.",
			units.Seconds, orGap(quantile(0.95, "", serverDuration)), base("green"), from(0.25, "orange"), from(1, "red")),
		number("Degraded stages", "Stages that failed or were bypassed within the last 15 s, on any instance.",
			units.Short, orZero(sum("max by (gateway_stage) ("+metric(degraded)+")")),
			base("green"), from(1, "red")).Decimals(0),
	}
}

func overviewTraffic() panels {
	return panels{
		stacked("Requests by status", "Requests answered per second, by HTTP status. A status is counted from the second scrape "+
			"that has it; what came with the first is in Decisions by verdict.", units.RequestsPerSecond,
			graph("{{http_response_status_code}}", orZero(sumBy("http_response_status_code", rate(serverDuration+"_count"))))).
			sorted("Mean", "lastNotNull", "mean", "max").statuses(),
		lines("Error ratio", "Share of the requests that were answered 5xx, by the gateway or the backend, and that were answered 429. "+
			"The dashed line is the objective for 5xx, 0.1 %.", units.PercentUnit,
			errorShare("5xx"), graph("429", limitedShare())).
			dashed(from(0.001, "red")).painted(paint{"5xx", "red"}, paint{"429", "yellow"}).AxisSoftMax(0.002),
		quantiles("Latency", "Quantiles of the duration of requests. "+diamonds+" "+
			"The dashed line is the objective for 99 of 100 requests, 0.25 s.", p50p95p99(serverDuration)).
			dashed(from(0.25, "red")),
		distribution("Latency distribution", "How many requests took how long. Two bands mean two kinds of requests.",
			units.Seconds, serverDuration),
		lines("Latency by route", "95th percentile by the rule of the token's record that matched. "+
			"Requests that were refused before a rule matched have no route.", units.Seconds,
			traced("{{http_route}}", orGap(quantile(0.95, ", http_route", serverDuration)))).
			sorted("Max", "lastNotNull", "max"),
		stacked("Requests by route", "Requests per second by the rule that matched.", units.RequestsPerSecond,
			graph("{{http_route}}", orZero(sumBy("http_route", rate(serverDuration+"_count"))))).
			sorted("Mean", "lastNotNull", "mean"),
	}
}

func overviewDecisions() panels {
	return panels{
		stacked("Decisions by verdict", "How requests ended: forwarded (allow), refused for the client's fault (deny), "+
			"failed for ours or the backend's (fail). Bypass counts what a stage could not decide and let pass.",
			units.RequestsPerSecond,
			byVerdict("allow", "allow", stage("proxy")), byVerdict("deny", "deny"),
			byVerdict("bypass", "bypass"), byVerdict("fail", "fail")).
			tabled("lastNotNull", "mean", "max").
			painted(paint{"allow", "green"}, paint{"deny", "orange"}, paint{"bypass", "purple"}, paint{"fail", "red"}),
		reasons("Why requests were not forwarded", "Decisions other than allow in the selected time range, by reason. "+
			"The reason is the same word in the answer, the trace and the log.",
			orZero("sort_desc("+sumBy(reasonLabels, increase(decisions, notAllowed))+" > 0)")).
			OverrideByName("Decisions", []dashboard.DynamicConfigValue{
				property("decimals", 0), property("custom.cellOptions", map[string]any{"mode": "basic", "type": "gauge"}),
				fixed("orange"), property("min", 0),
			}),
	}
}

func overviewHealth() panels {
	burn := func(recorded, budget string) string { return orZero("max(" + ofJob(recorded) + ") / " + budget) }
	return panels{
		lines("Burn rate", "How many times faster than allowed the error budgets are spent, all instances together. "+
			"At 1 a budget lasts its 30 days. Above 6 for six hours, or 14.4 for one, an alert fires.", units.NoUnit,
			graph("availability, 1h", burn("job:http_server_request_errors:ratio_rate1h", "0.001")),
			graph("availability, 6h", burn("job:http_server_request_errors:ratio_rate6h", "0.001")),
			graph("latency, 1h", burn("job:http_server_request_slow:ratio_rate1h", "0.01")),
			graph("latency, 6h", burn("job:http_server_request_slow:ratio_rate6h", "0.01"))).
			dashed(from(6, "orange"), from(14.4, "red")).AxisSoftMax(2),
		statetimeline.NewPanelBuilder().Title("Degraded stages").
			Description("A stage is degraded while it failed or was bypassed within the last 15 s on any instance.").
			Datasource(fromPrometheus()).Unit(units.Short).ColorScheme(colors(dashboard.FieldColorModeIdThresholds)).
			Targets(targets(graph("{{gateway_stage}}", orZero("max by (gateway_stage) ("+metric(degraded)+")")))).
			Mappings([]dashboard.ValueMapping{okOrDegraded()}).Thresholds(thresholds(base("green"), from(1, "red"))).
			FillOpacity(70).LineWidth(0).Legend(legend(common.LegendDisplayModeList, []string{})).
			Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone)),
		lines("Backend and own time", "Mean time of a request that the backend took, and that the gateway's own four stages took, "+
			"Redis included; and the backend's 95th percentile.", units.Seconds,
			graph("backend, mean", orGap(mean(sum, clientDuration))),
			traced("backend, p95", orGap(quantile(0.95, "", clientDuration))),
			graph("gateway, mean", orGap(ratio(
				sum(rate(stageDuration+"_sum", `gateway_stage!="proxy"`)), sum(rate(stageDuration+"_count", stage("auth"))))))).
			painted(paint{"backend, mean", "blue"}, paint{"backend, p95", "light-blue"}, paint{"gateway, mean", "purple"}),
	}
}
