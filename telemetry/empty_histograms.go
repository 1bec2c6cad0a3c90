package telemetry

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// zeroes adds to what was measured the gateway's own histograms of which
// nothing was measured yet, as empty ones. A counter can be increased by 0 to
// make its series appear; a histogram cannot, for a recorded 0 is a measurement.
// And a series that appears with its first values hides them from rate().
type zeroes struct {
	measured prometheus.Gatherer
	empty    prometheus.Gatherer
	counter  string // always there where outcomes are recorded
}

func newZeroes(measured prometheus.Gatherer) zeroes {
	empty := prometheus.NewRegistry()
	empty.MustRegister(emptyHistograms())
	return zeroes{measured, empty, names.MetricNamed(names.MetricDecisions).PrometheusName()}
}

// Gather implements [prometheus.Gatherer]. Where the measurements are missing as
// a whole, as they are once the provider was shut down, nothing is added: what
// was measured before would seem to have started again.
func (z zeroes) Gather() ([]*dto.MetricFamily, error) {
	families, err := z.measured.Gather()
	if _, ok := find(families, z.counter); err != nil || !ok {
		return families, err
	}
	empty, err := z.empty.Gather()
	for _, family := range empty {
		at, ok := find(families, family.GetName())
		if !ok {
			families = slices.Insert(families, at, family)
			continue
		}
		there := families[at].Metric
		for _, m := range family.Metric {
			if !slices.ContainsFunc(there, func(other *dto.Metric) bool { return sameLabels(m, other) }) {
				families[at].Metric = append(families[at].Metric, m)
			}
		}
	}
	return families, err
}

// find returns where a family is, or belongs, among families in order.
func find(families []*dto.MetricFamily, name string) (int, bool) {
	return slices.BinarySearchFunc(families, name, func(f *dto.MetricFamily, name string) int {
		return strings.Compare(f.GetName(), name)
	})
}

// sameLabels needs no sorting: a registry has done it.
func sameLabels(a, b *dto.Metric) bool {
	return slices.EqualFunc(a.Label, b.Label, func(a, b *dto.LabelPair) bool {
		return a.GetName() == b.GetName() && a.GetValue() == b.GetValue()
	})
}

// histograms is a collector of constant metrics.
type histograms []prometheus.Metric

// Describe implements [prometheus.Collector]. It tells nothing, for the names
// are the other registry's.
func (histograms) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (h histograms) Collect(out chan<- prometheus.Metric) {
	for _, m := range h {
		out <- m
	}
}

// emptyHistograms are those whose label sets are known before the first
// request.
func emptyHistograms() histograms {
	var all histograms
	add := func(name string, values ...string) {
		m := names.MetricNamed(name)
		bounds := make(map[float64]uint64, len(m.Buckets))
		for _, bound := range m.Buckets {
			bounds[bound] = 0
		}
		desc := prometheus.NewDesc(m.PrometheusName(), m.Meaning, prometheusNames(m.Labels), nil)
		all = append(all, prometheus.MustNewConstHistogram(desc, 0, 0, bounds, values...))
	}
	add(names.MetricUtilization)
	add(names.MetricRetryAfter)
	for _, stage := range middleware.StageNames() {
		var verdicts []string
		for _, reason := range middleware.ReasonsOf(stage) {
			verdict := reason.Info().Verdict.String()
			if !slices.Contains(verdicts, verdict) {
				verdicts = append(verdicts, verdict)
				add(names.MetricStageDuration, stage, verdict)
			}
		}
	}
	return all
}

func prometheusNames(keys []attribute.Key) []string {
	labels := make([]string, len(keys))
	for i, key := range keys {
		labels[i] = names.LabelName(key)
	}
	return labels
}
