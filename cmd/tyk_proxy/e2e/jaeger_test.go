package e2e_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tyk_proxy/app"
	"tyk_proxy/app/config"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/storetest"
)

// tracedConfig is testConfig with Jaeger as the collector. It keeps no slow
// requests, because the machine may be slow.
func tracedConfig(j *jaeger, redis, target, service string) config.Config {
	cfg := testConfig(redis, target)
	cfg.Telemetry.ServiceName = service
	cfg.Telemetry.Traces.Endpoint = "grpc://" + j.otlp
	cfg.Telemetry.Traces.SlowThreshold = 0
	return cfg
}

// The complete trace of an allowed request in Jaeger.
func TestTraceInJaeger(t *testing.T) {
	j, redis := startJaeger(t), storetest.StartRedis(t)
	traceparents := make(chan string, 2)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		traceparents <- r.Header.Get("Traceparent")
	}))
	t.Cleanup(backend.Close)
	cfg := tracedConfig(j, redis.Addr, backend.URL, "shape")
	cfg.Redis.ClientSideCache = false // a record from memory is no command, and no span
	p := start(t, cfg)
	token := mintToken(t, cfg, 10)
	// The first request also dials and loads the limiter's script.
	p.get("/api/v1/test", token.JWT).want(t, http.StatusOK, "")
	<-traceparents
	got := p.get("/api/v1/test?q=1", token.JWT)
	got.want(t, http.StatusOK, "")

	trace := j.await(got.header.Get("X-Trace-Id"), 9)
	want := strings.TrimPrefix(`
server GET /api/v1/test [gateway.key.id=<hex> gateway.reason=forwarded gateway.stage=proxy gateway.verdict=allow`+
		` http.response.status_code=200 http.route=/api/v1/test]
  internal gateway.auth [gateway.key.id=<hex> gateway.reason=authenticated gateway.stage=auth gateway.verdict=allow]
  internal gateway.token_lookup [gateway.key.id=<hex> gateway.reason=token_found gateway.stage=token_lookup gateway.verdict=allow]
    client getrange []
  internal gateway.route_check [gateway.key.id=<hex> gateway.reason=route_allowed gateway.stage=route_check gateway.verdict=allow`+
		` http.route=/api/v1/test]
  internal gateway.rate_limit [gateway.key.id=<hex> gateway.rate_limit.limit=10 gateway.rate_limit.remaining=8`+
		` gateway.rate_limit.reset=<number>`+
		` gateway.rate_limit.source=redis gateway.rate_limit.window=86400`+
		` gateway.reason=within_limit gateway.stage=rate_limit gateway.verdict=allow]
    client evalsha []
  internal gateway.proxy [gateway.key.id=<hex> gateway.reason=forwarded gateway.stage=proxy gateway.verdict=allow`+
		` http.response.status_code=200]
    client http get [http.response.status_code=200]
`, "\n")
	if diff := gocmp.Diff(want, outline(trace, "", "")); diff != "" {
		t.Errorf("the trace (-want +got):\n%s", diff)
	}
	checkStages(t, trace)
	traceparent, clients := <-traceparents, 0
	for _, span := range trace.Spans {
		if span.Tags["span.kind"] == "client" && strings.HasPrefix(span.Name, "HTTP") {
			clients++
			if want := "00-" + trace.ID + "-" + span.ID + "-01"; traceparent != want {
				t.Errorf("the backend received traceparent %s, want %s", traceparent, want)
			}
		}
		told := fmt.Sprint(span)
		if strings.Contains(told, token.APIKey) || strings.Contains(told, "token:") || strings.Contains(told, "q=1") {
			t.Errorf("span %s shows an api key, a Redis key or the query", span.Name)
		}
	}
	if clients != 1 {
		t.Errorf("%d HTTP client spans, want 1", clients)
	}
	for _, process := range trace.Processes {
		if process.Service != "shape" || process.Tags["service.version"] != app.Version {
			t.Errorf("service %s, version %s; want shape, %s", process.Service, process.Tags["service.version"], app.Version)
		}
	}
}

// outline returns a trace as a tree, siblings in order of their start. It has
// all attributes of the gateway's spans, and those of libraries that the
// gateway's spans have too. Values that differ between runs are replaced.
func outline(trace jaegerTrace, parent, indent string) string {
	shared := []string{"http.route", "http.response.status_code", "error", "error.type"}
	var b strings.Builder
	children := slices.DeleteFunc(slices.Clone(trace.Spans), func(s jaegerSpan) bool { return s.parent() != parent })
	slices.SortFunc(children, func(a, b jaegerSpan) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(stageOf(a), stageOf(b)))
	})
	for _, span := range children {
		var tags []string
		for _, key := range slices.Sorted(maps.Keys(span.Tags)) {
			value := span.Tags[key]
			switch key {
			case "gateway.key.id":
				value = regexp.MustCompile(`^[0-9a-f]{16}$`).ReplaceAllString(value, "<hex>")
			case "gateway.rate_limit.reset":
				value = regexp.MustCompile(`^\d+(\.\d+)?$`).ReplaceAllString(value, "<number>")
			}
			if strings.HasPrefix(key, "gateway.") || slices.Contains(shared, key) {
				tags = append(tags, key+"="+value)
			}
		}
		name := span.Name
		if span.Tags["span.kind"] == "client" {
			name = strings.ToLower(name)
		}
		fmt.Fprintf(&b, "%s%s %s [%s]\n", indent, span.Tags["span.kind"], name, strings.Join(tags, " "))
		b.WriteString(outline(trace, span.ID, indent+"  "))
	}
	return b.String()
}

// stageOf orders stages that began within the same microsecond.
func stageOf(s jaegerSpan) int {
	return slices.Index(middleware.StageNames(), strings.TrimPrefix(s.Name, "gateway."))
}

// checkStages checks that each stage ended before the next began.
func checkStages(t *testing.T, trace jaegerTrace) {
	t.Helper()
	begins := make(map[string]int64)
	for _, span := range trace.Spans {
		begins[span.Name] = span.Start
	}
	stages := middleware.StageNames()
	for _, span := range trace.Spans {
		at := stageOf(span)
		if at < 0 {
			continue
		}
		if at+1 < len(stages) && span.Start+span.Duration > begins["gateway."+stages[at+1]] {
			t.Errorf("%s overlaps gateway.%s", span.Name, stages[at+1])
		}
		if len(span.Logs) != 0 {
			t.Errorf("%s has %d events, want none: they would repeat its attributes", span.Name, len(span.Logs))
		}
	}
}

// With ratio 0 only refused requests are exported.
func TestOnlyRefusalsInJaeger(t *testing.T) {
	const allowed, refused = 1000, 5
	j := startJaeger(t)
	cfg := tracedConfig(j, storetest.StartRedis(t).Addr, echo(t), "refusals")
	cfg.Telemetry.Traces.SampleRatio = 0
	p := start(t, cfg)
	if got := p.hammer(mintToken(t, cfg, 2*allowed).JWT, allowed); got.statuses[http.StatusOK] != allowed {
		t.Fatalf("statuses %v, want 200 only", got.statuses)
	}
	for range refused {
		p.get("/api/v1/test", "").want(t, http.StatusUnauthorized, "credentials_missing")
	}
	want := map[string]int{"kept": refused, "not_sampled": allowed, "sampled": 0, "over_cap": 0}
	if diff := gocmp.Diff(want, awaitFates(t, p, allowed+refused)); diff != "" {
		t.Errorf("traces by fate (-want +got):\n%s", diff)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0, stopWithin) // now all of them are out
	const spansEach = 2       // the server's and gateway.auth
	var traces []jaegerTrace
	eventually(t, tracesWithin, "Jaeger has the refusals", func() bool {
		var spans int
		traces, spans = j.ofService("refusals")
		return spans >= refused*spansEach
	})
	if len(traces) != refused {
		t.Errorf("Jaeger has %d traces, want %d", len(traces), refused)
	}
	for _, trace := range traces {
		if root := trace.root(t); len(trace.Spans) != spansEach || root.Tags["gateway.reason"] != "credentials_missing" {
			t.Errorf("trace of %q has %d spans, want credentials_missing with %d", root.Tags["gateway.reason"], len(trace.Spans), spansEach)
		}
	}
}

// The number of kept traces is limited while there are many refusals.
func TestKeptTracesInJaegerAreLimited(t *testing.T) {
	const each = 20
	flood := 100_000
	if raced() || testing.Short() {
		flood = 4_000
	}
	j := startJaeger(t)
	cfg := tracedConfig(j, storetest.StartRedis(t).Addr, echo(t), "flood")
	cfg.Telemetry.Traces.SampleRatio, cfg.Telemetry.Traces.KeepPerSecond = 0, each
	cfg.Log.Level = "Info"
	p := start(t, cfg)
	token := mintToken(t, cfg, 1)
	p.get("/api/v1/test", token.JWT).want(t, http.StatusOK, "")

	begun := time.Now()
	got := p.hammer(token.JWT, flood)
	if got.statuses[http.StatusTooManyRequests] != flood {
		t.Fatalf("statuses %v, want 429 only", got.statuses)
	}
	fates := awaitFates(t, p, flood+1)
	most := each * (int(time.Since(begun)/time.Second) + 2) // a burst, and so many in each second
	if kept := fates["kept"]; kept < each || kept > most {
		t.Errorf("%d of %d traces were kept, want %d to %d", kept, flood, each, most)
	}
	if fates["not_sampled"] != 1 || fates["kept"]+fates["over_cap"] != flood {
		t.Errorf("traces by fate %v, want all refused ones kept or over the cap", fates)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0, stopWithin)
	eventually(t, tracesWithin, "Jaeger has the kept traces", func() bool {
		traces, _ := j.ofService("flood")
		return len(traces) == fates["kept"]
	})
}

// The trace of every exemplar is in Jaeger.
func TestExemplarsInJaeger(t *testing.T) {
	j := startJaeger(t)
	cfg := tracedConfig(j, storetest.StartRedis(t).Addr, echo(t), "exemplars")
	cfg.Telemetry.Traces.SampleRatio = 0.1
	p := start(t, cfg)
	p.hammer(mintToken(t, cfg, 1000).JWT, 500)
	p.hammer("", 100) // more than is kept in a second
	awaitFates(t, p, 600)

	exemplar := regexp.MustCompile(`(?m)^(\w+)(?:\{.*\})? \S+ # (\{.*\}) `)
	id := regexp.MustCompile(`(trace|span)_id="([0-9a-f]+)"`)
	found := make(map[string]int)
	spans := make(map[string][]string) // of a trace
	for _, match := range exemplar.FindAllStringSubmatch(p.scrape(), -1) {
		found[strings.TrimSuffix(match[1], "_bucket")]++
		ids := make(map[string]string)
		for _, label := range id.FindAllStringSubmatch(match[2], -1) {
			ids[label[1]] = label[2]
		}
		spans[ids["trace"]] = append(spans[ids["trace"]], ids["span"])
	}
	for _, name := range []string{
		"gateway_decisions_total", "gateway_stage_duration_seconds", "http_server_request_duration_seconds",
		"gateway_rate_limit_utilization", "db_client_operation_duration_seconds", "http_client_request_duration_seconds",
	} {
		if found[name] == 0 {
			t.Errorf("%s has no exemplar", name)
		}
	}
	t.Logf("exemplars of %d traces: %v", len(spans), found)
	for trace, named := range spans {
		has := make(map[string]bool)
		eventually(t, tracesWithin, "Jaeger has the spans of the exemplars in trace "+strconv.Quote(trace), func() bool {
			for _, span := range j.await(trace, 1).Spans {
				has[span.ID] = true
			}
			return !slices.ContainsFunc(named, func(span string) bool { return !has[span] })
		})
	}
}
