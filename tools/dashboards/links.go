package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func uid(name string) string { return "tyk-proxy-" + name }

type link = cog.Builder[dashboard.DashboardLink]

// target describes a dashboard to those that link to it. The one of a single
// request is not among them: it is an error without the id of a trace.
type target struct{ name, title, tooltip string }

func linked() []target {
	return []target{
		{"overview", "Gateway overview", "What the gateway does as a whole."},
		{"rate-limit", "Rate-limit rejections", "Who is refused, why, and for how long."},
		{"pipeline", "Pipeline", "The five stages, Redis and the backend."},
		{"runtime", "Runtime", "Go, the process, telemetry and series."},
	}
}

// boardLinks returns the links at the top of a dashboard to the others.
func boardLinks(from string) []link {
	var links []link
	for _, to := range linked() {
		if to.name != from {
			links = append(links, literal[dashboard.DashboardLink]{dashboard.DashboardLink{
				Type: dashboard.DashboardLinkTypeLink, Icon: "dashboard", Tags: []string{},
				Title: to.title, Tooltip: to.tooltip, Url: new("/d/" + uid(to.name)),
				KeepTime: true, IncludeVars: true,
			}})
		}
	}
	return links
}

// to returns a link of a panel or a field. Links to Explore open a tab.
func to(title, url string) dashboard.DashboardLink {
	return dashboard.DashboardLink{
		Type: dashboard.DashboardLinkTypeLink, Tags: []string{},
		Title: title, Url: &url, TargetBlank: strings.HasPrefix(url, "/explore"),
	}
}

// one returns what the panels' builders take for a single link.
func one(l dashboard.DashboardLink) []link { return []link{literal[dashboard.DashboardLink]{l}} }

// explore returns the address of Explore with a query to Jaeger. A variable is
// written $(name) here, because its braces stay while those of JSON are escaped.
func explore(query, timeRange string) string {
	escape := strings.NewReplacer("$(", "${", ")", "}", "{", "%7B", "}", "%7D", `"`, "%22", "=", "%3D")
	return "/explore?schemaVersion=1&panes=" + escape.Replace(
		`{"t":{"datasource":"jaeger","queries":[{"refId":"A","datasource":{"type":"jaeger","uid":"jaeger"},`+query+`}]`+timeRange+`}}`)
}

// traces returns a link to the traces of the time range that have a reason.
func traces(title, reason string) dashboard.DashboardLink {
	return to(title, explore(
		`"queryType":"search","service":"$(service)","tags":"gateway.reason=`+reason+`","limit":100`,
		`,"range":{"from":"$(__from)","to":"$(__to)"}`))
}

// limitedTraces is the link of the panels that count refusals of the limiter.
func limitedTraces() []link { return one(traces("Traces of requests over the limit", "rate_limited")) }

// reasonTraces is the link of a series that has the reason as a label.
func reasonTraces() []link {
	return one(traces("Traces with reason ${__field.labels.gateway_reason}", "$(__field.labels.gateway_reason)"))
}

// openTrace returns a link to Explore with a single trace. id is a variable.
func openTrace(id string) dashboard.DashboardLink {
	return to("Open in Explore", explore(`"query":"`+id+`"`, ""))
}

// showTrace returns a link from a trace's id to the dashboard of one request.
func showTrace() dashboard.DashboardLink {
	return to("Show the trace", "/d/"+uid("request")+"?${__url_time_range}&${datasource:queryparam}&"+
		"${job:queryparam}&${instance:queryparam}&var-trace_id=${__value.raw}")
}
