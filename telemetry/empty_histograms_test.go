package telemetry

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// counts returns the number of values of the gateway's histograms by series. A
// duplicate series fails the test.
func counts(t *testing.T, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "} ")
		if !strings.Contains(line, "{") {
			name, value, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		}
		if !strings.HasPrefix(name, "gateway_") {
			continue
		}
		value, _, _ = strings.Cut(value, " # ") // the exemplar
		if _, twice := found[name]; twice {
			t.Errorf("%s occurs twice", name)
		}
		found[name] = value
	}
	return found
}

// heads returns the HELP, TYPE and UNIT lines of the gateway's histograms.
func heads(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") && (strings.Contains(line, names.MetricNamed(names.MetricStageDuration).PrometheusName()) ||
			strings.Contains(line, "gateway_rate_limit_")) {
			all = append(all, line)
		}
	}
	return all
}

const openMetrics = "application/openmetrics-text; version=1.0.0"

// Before the first request all histograms exist with count 0, and with the
// same series, help and type as later.
func TestHistogramsExistBeforeMeasurements(t *testing.T) {
	r := newRig(t, exportAll(), &script{})
	before := map[string]map[string]string{}
	for _, format := range []string{"text/plain", openMetrics} {
		text := r.scrape(t, format)
		before[format] = counts(t, text)
		for series, value := range before[format] {
			if value != "0" && value != "0.0" && !strings.HasPrefix(series, "gateway_clock") {
				t.Errorf("%s is %s before the first request", series, value)
			}
		}
	}
	heading := heads(r.scrape(t, openMetrics))
	for _, stage := range middleware.StageNames() {
		for _, reason := range middleware.ReasonsOf(stage) {
			series := fmt.Sprintf(`gateway_stage_duration_seconds_count{gateway_stage=%q,gateway_verdict=%q`, stage, reason.Info().Verdict)
			if _, ok := before["text/plain"][series]; !ok {
				t.Errorf("%s} does not exist before the first request", series)
			}
		}
	}
	r.recordEverything(t)
	for format, want := range before {
		got := slices.Sorted(maps.Keys(counts(t, r.scrape(t, format))))
		if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Errorf("%s: %d series before the first request and %d after everything happened", format, len(want), len(got))
		}
	}
	if now := heads(r.scrape(t, openMetrics)); !slices.Equal(now, heading) {
		t.Errorf("help and type before the first request were\n%s, and later\n%s", heading, now)
	}
}

// recordEverything ends every stage with each of its reasons.
func (r *rig) recordEverything(t *testing.T) {
	t.Helper()
	for _, stage := range middleware.StageNames() {
		for _, reason := range middleware.ReasonsOf(stage) {
			ex := &middleware.Exchange{Quota: middleware.Quota{Limit: 1, Used: 1, Window: 1}}
			r.recorder.measure(t.Context(), ex, middleware.Step{Stage: stage, Outcome: middleware.Outcome{Reason: reason}})
		}
	}
}

// A request changes only its own series.
func TestMeasurementReplacesEmptyHistogram(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	g.serve(t, request(t, untrustedPeer, "/a", g.token(t, "key", 10, "/a")))
	found := counts(t, g.scrape(t, "text/plain"))
	for series, want := range map[string]string{
		`gateway_stage_duration_seconds_count{gateway_stage="rate_limit",gateway_verdict="allow"`: "1",
		`gateway_stage_duration_seconds_count{gateway_stage="rate_limit",gateway_verdict="deny"`:  "0",
		`gateway_rate_limit_utilization_count`:                                                    "1",
		`gateway_rate_limit_utilization_bucket{le="0.1"`:                                          "1",
		`gateway_rate_limit_retry_after_seconds_count`:                                            "0",
		`gateway_rate_limit_retry_after_seconds_sum`:                                              "0",
		`gateway_rate_limit_retry_after_seconds_bucket{le="1"`:                                    "0",
	} {
		if found[series] != want {
			t.Errorf("%s is %q, want %s", series, found[series], want)
		}
	}
}

// Prometheus's own parser accepts the page.
func TestPageIsWellFormed(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	g.serve(t, request(t, untrustedPeer, "/a", g.token(t, "key", 10, "/a")))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(g.scrape(t, "text/plain")))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{names.MetricStageDuration, names.MetricUtilization, names.MetricRetryAfter} {
		if name := names.MetricNamed(m).PrometheusName(); families[name] == nil || families[name].GetType().String() != "HISTOGRAM" {
			t.Errorf("%s is not a histogram", name)
		}
	}
	// OpenMetrics requires that a family is contiguous, and an end marker.
	text, types := g.scrape(t, openMetrics), map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# TYPE ") {
			if types[line] {
				t.Errorf("twice: %s", line)
			}
			types[line] = true
		}
	}
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("the OpenMetrics page has no end marker")
	}
}

// After the shutdown there are no empty histograms: they would look like a
// restart, and the next scrape would count everything again.
func TestNoEmptyHistogramsAfterShutdown(t *testing.T) {
	g := newGateway(t, exportAll(), tracetest.NewInMemoryExporter())
	answer, _ := g.serve(t, request(t, untrustedPeer, "/a", g.token(t, "key", 10, "/a")))
	if answer.Code != http.StatusOK {
		t.Fatalf("answered %d", answer.Code)
	}
	if err := g.providers.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if found := counts(t, g.scrape(t, "text/plain")); len(found) != 0 {
		t.Errorf("%d series of a provider that was shut down", len(found))
	}
}
