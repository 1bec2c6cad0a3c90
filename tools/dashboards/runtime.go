package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func runtime() board {
	return board{
		name: "runtime", title: "Runtime", tag: "runtime",
		description: "Go, the process, what it has open, and whether its telemetry arrives.",
		rows: []row{
			{"At a glance", 3, 4, runtimeNumbers()},
			{"Memory and garbage collection", 8, 8, append(memory(), collections()...)},
			{"Goroutines and CPU", 8, 8, goroutines()},
			{"Connections", 6, 8, connections()},
			{"Telemetry", 6, 8, telemetry()},
			{"", 7, 8, telemetryDetails()},
		},
	}
}

func runtimeNumbers() panels {
	return panels{
		number("Instances up", "Gateways that Prometheus scrapes.", units.Short,
			orZero(sum(metric("up"))), base("red"), from(1, "green")).Decimals(0),
		number("Uptime", "Time since the youngest instance started.", units.Seconds,
			orZero("min(time() - "+metric("process_start_time_seconds")+")")).Decimals(0).GraphMode(common.BigValueGraphModeNone),
		number("CPU", "Cores in use, all instances together.", units.Short,
			orZero(sum(rate("process_cpu_seconds_total")))).Decimals(2),
		number("Memory", "Resident memory of the largest instance. Compose gives each 256 MiB.", units.BytesIEC,
			orZero("max("+metric("process_resident_memory_bytes")+")"),
			base("green"), from(200<<20, "orange"), from(240<<20, "red")),
		number("Goroutines", "Goroutines of the instance that has most.", units.Short,
			orZero("max("+metric("go_goroutines")+")"), base("green"), from(10000, "orange")).Decimals(0),
		number("Requests in flight", "Requests that are being served.", units.Short,
			orZero(sum(metric("http_server_active_requests")))).Decimals(0),
		number("Spans lost", "Spans per second that no collector took: refused, not reached, or no room in memory.", units.OpsPerSecond,
			orZero(sum(rate("gateway_telemetry_spans_total", `gateway_telemetry_fate=~"failed|dropped"`))),
			base("green"), from(0.001, "red")),
		number("Overflowing metrics", "Metrics that reached the cap of 2000 series and put the rest into one.", units.Short,
			orZero("count(count by (__name__) ("+metric("", `otel_metric_overflow="true"`)+"))"),
			base("green"), from(1, "red")).Decimals(0),
	}
}

func memory() panels {
	of := func(name string) string { return orZero(sum(metric(name))) }
	return panels{
		lines("Memory", "Resident memory of the process and what Go's heap and stacks have of it, all instances together.",
			units.BytesIEC,
			graph("resident", of("process_resident_memory_bytes")),
			graph("heap in use", of("go_memstats_heap_inuse_bytes")),
			graph("heap objects", of("go_memstats_heap_alloc_bytes")),
			graph("stacks", of("go_memstats_stack_inuse_bytes")),
			graph("next collection at", of("go_memstats_next_gc_bytes"))),
		lines("Allocations", "Bytes that are allocated per second. Each costs a part of a later collection.", units.BytesPerSecondSI,
			perInstance(rate("go_memstats_alloc_bytes_total"))).listed("lastNotNull", "mean"),
		lines("Resident memory by instance", "Resident memory of each process. The dashed line is 256 MiB, what compose gives one.",
			units.BytesIEC, perInstance(metric("process_resident_memory_bytes"))).dashed(from(256<<20, "red")),
	}
}

func collections() panels {
	pause := func(quantile string) string { return orZero("max(" + metric("go_gc_duration_seconds", quantile) + ")") }
	return panels{
		lines("Collections", "Garbage collections per second.", units.OpsPerSecond,
			perInstance(rate("go_gc_duration_seconds_count"))).listed("lastNotNull", "mean"),
		lines("Pauses", "Longest and median pause of the latest garbage collections, over the instances.", units.Seconds,
			graph("longest", pause(`quantile=~"1|1.0"`)), graph("median", pause(`quantile="0.5"`))).
			dashed(from(0.01, "orange")).painted(paint{"longest", "red"}, paint{"median", "green"}),
		lines("Share of time in pauses", "Part of the time in which the whole process stood still for the garbage collection.",
			units.PercentUnit, perInstance(rate("go_gc_duration_seconds_sum"))).dashed(from(0.01, "orange")),
	}
}

func goroutines() panels {
	return panels{
		lines("Goroutines", "Goroutines of each instance. A steady rise without traffic is a leak.", units.Short,
			perInstance(metric("go_goroutines"))).Decimals(0),
		lines("Threads", "Operating-system threads of each instance.", units.Short,
			perInstance(metric("go_threads"))).Decimals(0),
		lines("CPU", "Cores in use, and the most that Go may use (GOMAXPROCS).", units.Short,
			perInstance(rate("process_cpu_seconds_total")),
			graph("GOMAXPROCS", orZero("max("+metric("go_sched_gomaxprocs_threads")+")"))).
			OverrideByName("GOMAXPROCS", []dashboard.DynamicConfigValue{
				fixed("red"), property("custom.fillOpacity", 0),
				property("custom.lineStyle", map[string]any{"fill": "dash", "dash": []int{8, 8}}),
			}),
	}
}

func connections() panels {
	return panels{
		lines("Open files", "Share of the file descriptors that the process may have open. Each connection takes one.", units.PercentUnit,
			graph("{{instance}}", orZero("max by (instance) ("+metric("process_open_fds")+" / "+metric("process_max_fds")+")"))).
			dashed(from(0.8, "red")).Max(1),
		lines("Open file descriptors", "Sockets and files that the process has open.", units.Short,
			perInstance(metric("process_open_fds"))).Decimals(0),
		stacked("Requests in flight", "Requests that are being served, by method.", units.Short,
			graph("{{http_request_method}}", orZero(sumBy("http_request_method", metric("http_server_active_requests"))))).Decimals(0),
		stacked("Records in memory", "Records that the gateways keep while Redis tells of their changes, "+
			"and lookups per second that found theirs there or not.", units.Short,
			graph("records", orZero(sum(metric("gateway_redis_cache_entries")))),
			graph("found per second", orZero(sum(rate("gateway_redis_cache_hits_total")))),
			graph("not found per second", orZero(sum(rate("gateway_redis_cache_misses_total"))))).Decimals(0),
	}
}

func telemetry() panels {
	fates := func(title, description, name string) series {
		return stacked(title, description, units.OpsPerSecond,
			graph("{{gateway_telemetry_fate}}", orZero(sumBy("gateway_telemetry_fate", rate(name))))).
			painted(paint{"exported", "green"}, paint{"failed", "red"}, paint{"dropped", "orange"}, paint{"sampled", "green"},
				paint{"kept", "blue"}, paint{"over_cap", "orange"}, paint{"not_sampled", "gray"})
	}
	return panels{
		fates("Spans", "Spans per second: taken by the collector (exported), refused or not reached (failed), "+
			"no room in memory (dropped).", "gateway_telemetry_spans_total"),
		fates("Traces", "Traces per second: exported by the ratio (sampled) or for what happened (kept); "+
			"not exported for the cap (over_cap) or the ratio (not_sampled).", "gateway_telemetry_traces_total"),
		lines("Scrape duration", "Time that Prometheus took to scrape each instance.", units.Seconds,
			perInstance(metric("scrape_duration_seconds"))).dashed(from(1, "red")),
		lines("Series", "Series that each instance exposes.", units.Short, perInstance(metric("scrape_samples_scraped"))).
			dashed(from(20000, "red")).AxisSoftMax(2000).Decimals(0),
	}
}

func telemetryDetails() panels {
	return panels{
		cellTable("Series by metric", "The ten names with most series. Labels are closed sets, so none grows without end.", units.Short,
			cells("", orZero(`sort_desc(topk(10, count by (__name__) (`+metric("", `__name__!=""`)+`)))`))).
			SortBy(highestFirst("Series")).
			WithTransformation(organized(map[string]string{"__name__": "Metric", "Value": "Series"})).
			OverrideByName("Series", []dashboard.DynamicConfigValue{property("decimals", 0)}),
		lines("New series", "Series that each scrape added. After the first minutes this should be near 0.", units.Short,
			perInstance(metric("scrape_series_added"))).Decimals(0).Span(5),
		lines("Log lines dropped", "Log lines per second that were dropped because the log was not read fast enough.", units.OpsPerSecond,
			perInstance(rate("gateway_log_dropped_total"))).dashed(from(0.001, "red")).Span(5),
		cellTable("Build", "What runs where: the service's name and version, and the Go version that built it.", units.NoUnit,
			cells("", orZero("max by (instance, service_name, service_version, version) ("+metric("target_info")+
				" * on (job, instance) group_left (version) "+metric("go_info")+")"))).
			WithTransformation(organized(map[string]string{
				"instance": "Instance", "service_name": "Service", "service_version": "Version", "version": "Go",
			}, "instance", "service_name", "service_version", "version")),
	}
}
