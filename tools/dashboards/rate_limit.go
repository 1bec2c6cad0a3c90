package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func rateLimit() board {
	return board{
		name: "rate-limit", title: "Rate-limit rejections", tag: "rate-limit",
		description: "Who is refused for exceeding a limit, how far, for how long, and is the limiter well?",
		key:         textBox("key_id", "Key id", "A gateway.key.id, as traces and log lines have it."),
		rows: []row{
			{"At a glance", 3, 4, append(limitNumbers(), limiterNumbers()...)},
			{"Rejections", 12, 8, rejections()},
			{"", 12, 9, rejectionsBeside()},
			{"Limits", 12, 8, limits()},
			{"Limiter", 8, 8, limiter()},
			{"From a rejection to its trace and its key", 9, 10, rejectedKeys()},
		},
	}
}

func limitNumbers() panels {
	return panels{
		number("429 per second", "Requests refused per second because their token's limit was used up.", units.RequestsPerSecond,
			orZero(sum(rate(decisions, limited))), base("text"), from(0.001, "yellow")).Links(limitedTraces()),
		number("429 share", "Share of all requests that were refused with 429.", units.PercentUnit,
			limitedShare(), base("text"), from(0.05, "yellow"), from(0.25, "orange")).Decimals(1).Links(limitedTraces()),
		number("Rejected", "Requests refused over the limit. Since start is exact, and begins anew with an instance. "+
			"In range is an estimate: Prometheus extends what it saw between two scrapes to the ends of the range, "+
			"so that it can be a few percent above or below the count.", units.Short, "").
			Targets(targets(
				latest("in range, about", orZero(sum(increase(decisions, limited)))),
				latest("since start", orZero(sum(metric(decisions, limited)))))).
			Decimals(0).GraphMode(common.BigValueGraphModeNone).TextMode(common.BigValueTextModeValueAndName).Links(limitedTraces()),
		number("Median Retry-After", "Half of the refused requests were told to wait less than this.", units.Seconds,
			orGap(quantile(0.5, "", retryAfter))),
	}
}

func limiterNumbers() panels {
	return panels{
		number("Limiter p95", "95 of 100 decisions of the limiter took less than this, the way to Redis and back included.",
			units.Seconds, orGap(quantile(0.95, "", stageDuration, stage("rate_limit"))),
			base("green"), from(0.01, "orange"), from(0.05, "red")),
		number("Limiter failures", "Requests per second that the limiter could not count and refused with 503.",
			units.RequestsPerSecond, orZero(sum(rate(decisions, stage("rate_limit"), verdict("fail")))),
			base("green"), from(0.001, "red")),
		number("Limiter bypass", "Requests per second that the limiter could not count and let pass uncounted. "+
			"0 where rate_limit.on_error is deny.",
			units.RequestsPerSecond, orZero(sum(rate(decisions, stage("rate_limit"), verdict("bypass")))),
			base("green"), from(0.001, "purple")),
		number("Clock offset", "Largest distance of a gateway's clock from Redis'. Windows are counted by Redis' clock; "+
			"Retry-After is as wrong as this.",
			units.Seconds, orZero("max(abs("+metric("gateway_clock_offset_seconds")+"))"),
			base("green"), from(0.1, "orange"), from(1, "red")),
	}
}

func rejections() panels {
	return panels{
		bars("Rejections of the limiter", "Decisions of the limiter other than allow, per second, by reason. "+
			diamonds, units.RequestsPerSecond,
			traced("{{gateway_reason}}", orZero(sumBy("gateway_reason", rate(decisions, stage("rate_limit"), notAllowed))))).
			tabled("lastNotNull", "mean", "max").
			painted(paint{"rate_limited", "yellow"}, paint{"limiter_unavailable", "red"}, paint{"limiter_bypassed", "purple"}).
			Links(limitedTraces()).DataLinks(reasonTraces()),
		lines("429 share", "Share of the requests that were refused with 429: of all, and of those that reached the limiter.",
			units.PercentUnit,
			graph("of all requests", limitedShare()),
			graph("of the limiter's decisions", orZero(ratio(
				sum(rate(decisions, limited)), sum(rate(decisions, stage("rate_limit"))))))).
			dashed(from(0.25, "orange")).
			painted(paint{"of all requests", "yellow"}, paint{"of the limiter's decisions", "orange"}).
			Max(1).Links(limitedTraces()),
	}
}

func rejectionsBeside() panels {
	return panels{
		stacked("All refusals by reason", "Every reason that refused or failed a request, per second, for comparison: "+
			"is it limits, tokens, routes or failures?", units.RequestsPerSecond,
			traced("{{gateway_reason}}", orZero(sumBy("gateway_reason", rate(decisions, `gateway_verdict=~"deny|fail"`))))).
			sorted("Mean", "mean", "max").DataLinks(reasonTraces()),
		stacked("429 by route", "Requests refused with 429 per second, by the rule of the token's record that they matched. "+
			"A route is counted from the second scrape that has it.", units.RequestsPerSecond,
			graph("{{http_route}}", orZero(sumBy("http_route", rate(serverDuration+"_count", `http_response_status_code="429"`))))).
			sorted("Mean", "lastNotNull", "mean", "max").Links(limitedTraces()),
	}
}

func limits() panels {
	left := func(q float64) string {
		return orGap("clamp_min(1 - " + quantile(q, "", utilization) + ", 0)")
	}
	return panels{
		distribution("Utilisation of limits", "Share of its limit that a token had used at each decision. "+
			"What lies above 100 % was refused.", units.PercentUnit, utilization).Links(limitedTraces()),
		lines("Remaining of limits", "What was left of the token's limit at the limiter's decisions: for the middle one, "+
			"and for the 5 and the 1 of 100 that had least.", units.PercentUnit,
			graph("median", left(0.5)), graph("least 5 %", left(0.95)), traced("least 1 %", left(0.99))).
			listed("lastNotNull", "min").dashed(from(0.1, "orange")).
			painted(paint{"median", "green"}, paint{"least 5 %", "orange"}, paint{"least 1 %", "red"}).Max(1),
		distribution("Retry-After given", "How long refused clients were told to wait: until the end of their window.",
			units.Seconds, retryAfter).Links(limitedTraces()),
		quantiles("Retry-After quantiles", "Half, 95 and 99 of 100 refused clients were told to wait less than this.",
			p50p95p99(retryAfter)).Links(limitedTraces()),
	}
}

func limiter() panels {
	ofLimiter := stage("rate_limit")
	return panels{
		quantiles("Limiter latency", "Quantiles of the limiter's time to decide. It is one round trip to Redis.",
			p50p95p99(stageDuration, ofLimiter)).dashed(from(0.05, "red")),
		stacked("Source of the limiter's decisions", "Per second: counted in Redis and allowed, counted in Redis and refused, "+
			"not counted and refused, not counted and let pass (bypass).", units.RequestsPerSecond,
			byVerdict("Redis, within the limit", "allow", ofLimiter), byVerdict("Redis, over the limit", "deny", ofLimiter),
			byVerdict("none, refused", "fail", ofLimiter), byVerdict("none, bypassed", "bypass", ofLimiter)).
			painted(paint{"Redis, within the limit", "green"}, paint{"Redis, over the limit", "yellow"},
				paint{"none, refused", "red"}, paint{"none, bypassed", "purple"}),
		signed("Clock offset", "How far Redis' clock is ahead of each gateway's.", units.Seconds,
			graph("{{instance}}", orZero("max by (instance) ("+metric("gateway_clock_offset_seconds")+")"))).
			dashed(from(0.1, "orange"), from(1, "red")),
	}
}

const findKeys = "A key is never a metric label. Each trace and log line has its `gateway.key.id` instead: " +
	"the first 16 hex digits of the key's HMAC.\n\n" +
	"1. Click a diamond in a graph above, or a trace in the list beside.\n" +
	"2. On the span `gateway.auth` read `gateway.key.id`.\n" +
	"3. Put it into **Key id** at the top: the second list has that key's requests.\n\n" +
	"The log tells the top offenders at once:\n\n" +
	"```sh\ndocker compose logs gateway | grep rate_limited |\n  grep -o 'gateway.key.id=[0-9a-f]*' |\n" +
	"  sort | uniq -c | sort -rn | head\n```\n\n" +
	"Above 10 lines a second of one stage and reason that is a sample; " +
	"`gateway.log.suppressed` in a line says how many are missing before it.\n"

func rejectedKeys() panels {
	return panels{
		note("How to find who it is", "Which key is refused most: by traces, because a key is never a metric label.", findKeys).Span(6),
		traceList("Latest requests over the limit", "Traces with gateway.reason=rate_limited, newest first. Click an id to see its trace.",
			"gateway.reason=rate_limited", limitedTraces()...),
		traceList("Latest requests of the key", "Traces with the gateway.key.id of the field Key id at the top, newest first. "+
			"Empty while that field is.", "gateway.key.id=$key_id"),
	}
}

// traceList is a table of the latest traces that have a tag.
func traceList(title, description, tag string, links ...link) cog.Builder[dashboard.Panel] {
	return emptyTable(title, description, units.NoUnit).Datasource(fromJaeger()).Links(links).
		WithTarget(jaegerQuery(map[string]any{"queryType": "search", "service": "$service", "tags": tag, "limit": 50})).
		OverrideByName("Trace ID", []dashboard.DynamicConfigValue{
			property("links", []dashboard.DashboardLink{showTrace(), openTrace("$(__value.raw)")}),
		}).
		OverrideByName("Duration", []dashboard.DynamicConfigValue{property("unit", units.Microseconds)})
}
