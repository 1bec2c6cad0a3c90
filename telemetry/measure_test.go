package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// library measures the same requests as the gateway, with otelhttp.
type library struct {
	reader *sdkmetric.ManualReader
	meters *sdkmetric.MeterProvider
}

func newLibrary() *library {
	l := &library{reader: sdkmetric.NewManualReader()}
	views := make([]sdkmetric.View, 0, 2)
	for _, name := range []string{names.MetricServerDuration, names.MetricClientDuration} {
		m := names.MetricNamed(name)
		views = append(views, sdkmetric.NewView(sdkmetric.Instrument{Name: name}, sdkmetric.Stream{
			AttributeFilter: attribute.NewAllowKeysFilter(m.Labels...),
			Aggregation:     sdkmetric.AggregationExplicitBucketHistogram{Boundaries: m.Buckets},
		}))
	}
	l.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(l.reader), sdkmetric.WithView(views...))
	return l
}

// counts lists the number of measurements of each series, in the format of
// Prometheus.
func (l *library) counts(t *testing.T) []string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := l.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			data, ok := m.Data.(metricdata.Histogram[float64])
			if !ok || m.Name != names.MetricServerDuration && m.Name != names.MetricClientDuration {
				continue
			}
			for _, point := range data.DataPoints {
				var labels []string
				for _, kv := range point.Attributes.ToSlice() {
					labels = append(labels, fmt.Sprintf("%s=%q", names.LabelName(kv.Key), kv.Value.String()))
				}
				slices.Sort(labels)
				name := names.MetricNamed(m.Name).PrometheusName()
				lines = append(lines, fmt.Sprintf("%s_count{%s} %d", name, strings.Join(labels, ","), point.Count))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// The HTTP metrics of all requests have the same names, labels and values as
// those of otelhttp.
func TestHTTPMetricsEqualOtelhttp(t *testing.T) {
	for ratio := range 2 {
		l := newLibrary()
		g := newGatewayWith(t, TracesConfig{SampleRatio: float64(ratio), KeepPerSecond: 5}, tracetest.NewInMemoryExporter(),
			func(next http.RoundTripper) http.RoundTripper {
				return otelhttp.NewTransport(next, otelhttp.WithMeterProvider(l.meters))
			})
		measured := otelhttp.NewHandler(g.handler, "", otelhttp.WithMeterProvider(l.meters))
		token := g.token(t, "k", 1000, "/a", "/b/*")
		for _, row := range []struct{ method, path, route, token, answer string }{
			{"GET", "/a", "/a", token, "200"}, {"HEAD", "/a", "/a", token, "204"}, {"POST", "/b/c", "/b/*", token, "404"},
			{"GET", "/a", "/a", token, "500"}, {"GET", "/a", "/a", token, "refuse"}, {"GET", "/a", "/a", token, "hang"},
			{"GET", "/a", "/a", token, "garbage"}, {"GET", "/a", "", "", ""}, {"GET", "/other", "", token, ""},
			{"BREW", "/a", "", token, ""}, {"get", "/a", "", token, ""},
		} {
			for range 3 {
				r := request(t, untrustedPeer, row.path, row.token, "X-Answer", row.answer)
				r.Method, r.Pattern = row.method, row.route
				measured.ServeHTTP(httptest.NewRecorder(), r)
			}
		}
		var ours []string
		for line := range strings.Lines(g.scrape(t, "text/plain")) {
			if strings.HasPrefix(line, "http_") && strings.Contains(line, "_duration_seconds_count{") {
				ours = append(ours, strings.TrimSpace(line))
			}
		}
		slices.Sort(ours)
		if diff := cmp.Diff(l.counts(t), ours); diff != "" || len(ours) < 10 {
			t.Errorf("ratio %d: -otelhttp +gateway:\n%s", ratio, diff)
		}
	}
}

// silent is an observer that records nothing.
type silent struct{}

func (silent) StageStarted(ctx context.Context, _ *middleware.Exchange, _ string) context.Context {
	return ctx
}
func (silent) StageEnded(context.Context, *middleware.Exchange, middleware.Step)     {}
func (silent) RequestEnded(context.Context, *middleware.Exchange, middleware.Result) {}

// The limit of allocations for telemetry of a request that is not sampled,
// compared with a pipeline that records nothing.
func TestAllocationsOfTelemetry(t *testing.T) {
	if raced() {
		t.Skip("the race detector allocates, too")
	}
	refused := script{middleware.StageRateLimit, middleware.RateLimited}
	for name, row := range map[string]struct {
		script script
		keep   int
		most   float64
	}{
		"allowed":               {script{}, 50, 6},
		"allowed, nothing kept": {script{}, 0, 6},
		"refused":               {refused, 0, 6},
	} {
		r := newRig(t, TracesConfig{KeepPerSecond: row.keep}, &row.script)
		r.recorder.lines.log.SetLevel(0)
		cfg := middleware.PipelineConfig{Observer: silent{}, Forwarder: scriptedStage{middleware.StageProxy, &row.script}}
		for _, stage := range stagesBeforeProxy() {
			cfg.Stages = append(cfg.Stages, scriptedStage{stage, &row.script})
		}
		request := get(t)
		count := func(h http.Handler) float64 {
			return testing.AllocsPerRun(200, func() { h.ServeHTTP(httptest.NewRecorder(), request) })
		}
		bare, recorded := count(middleware.NewPipeline(cfg)), count(r.handler)
		if recorded-bare > row.most {
			t.Errorf("%s: %v allocations for telemetry, want at most %v", name, recorded-bare, row.most)
		}
		t.Logf("%s: %v allocations, %v without telemetry", name, recorded, bare)
	}
}
