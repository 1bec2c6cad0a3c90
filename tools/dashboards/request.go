package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func request() board {
	return board{
		name: "request", title: "One request", tag: "request", oneRequest: true,
		description: "One request, by the id of its trace. Links lead here: from a diamond, and from the lists of traces.",
		key:         textBox("trace_id", "Trace id", "The trace to show, as X-Trace-Id, a problem's trace_id or a log line has it."),
		rows: []row{
			// The SDK v0.0.22 has no package for panels of type traces.
			{"", 24, 20, panels{dashboard.NewPanelBuilder().Type("traces").Title("Trace").
				Description("The stages of the request under its server span, with what each decided, " +
					"and the calls to Redis and the backend. It may take a second to be there.").
				Datasource(fromJaeger()).WithTarget(jaegerQuery(map[string]any{"query": "$trace_id"})).
				Unit(units.NoUnit).Links(one(openTrace("$(trace_id)")))}},
			{"", 24, 5, panels{note("Elsewhere", "Where else the request left something.",
				"The request's log line, and what its client was told:\n\n"+
					"```sh\ndocker compose logs gateway | grep ${trace_id}\n```\n\n"+
					"No trace? It was not exported, or Jaeger has given it up for newer ones. "+
					"The log line has its decision all the same.\n")}},
		},
	}
}
