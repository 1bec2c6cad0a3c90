package telemetry

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// histogramGatherer adds to the measured metrics an empty histogram for each of
// the gateway's own series that has no measurement yet. PromQL's rate() misses
// the first values of a series that appears with them. A counter can be
// initialised by adding 0, but recording 0 in a histogram is a measurement.
type histogramGatherer struct {
	measured, empty prometheus.Gatherer
	decisions       string // a metric that is always present while the provider runs
}

func withEmptyHistograms(measured prometheus.Gatherer) histogramGatherer {
	return histogramGatherer{measured, emptyHistograms(), names.MetricNamed(names.MetricDecisions).PrometheusName()}
}

// Gather implements [prometheus.Gatherer]. It adds nothing if the measurements
// are missing after the shutdown of the provider: the empty histograms would
// look like a restart.
func (g histogramGatherer) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.measured.Gather()
	if _, ok := find(families, g.decisions); err != nil || !ok {
		return families, err
	}
	empty, err := g.empty.Gather()
	for _, family := range empty {
		at, ok := find(families, family.GetName())
		if !ok {
			families = slices.Insert(families, at, family)
			continue
		}
		measured := families[at].Metric
		for _, m := range family.Metric {
			if !slices.ContainsFunc(measured, func(other *dto.Metric) bool { return sameLabels(m, other) }) {
				families[at].Metric = append(families[at].Metric, m)
			}
		}
	}
	return families, err
}

// find returns the index of a family, or the index at which to insert it. The
// families are sorted by name.
func find(families []*dto.MetricFamily, name string) (int, bool) {
	return slices.BinarySearchFunc(families, name, func(f *dto.MetricFamily, name string) int {
		return strings.Compare(f.GetName(), name)
	})
}

// sameLabels compares the labels, which the registries have sorted.
func sameLabels(a, b *dto.Metric) bool {
	return slices.EqualFunc(a.Label, b.Label, func(a, b *dto.LabelPair) bool {
		return a.GetName() == b.GetName() && a.GetValue() == b.GetValue()
	})
}

// emptyHistograms returns the histograms whose labels are known at the start.
func emptyHistograms() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	vector := func(name string) *prometheus.HistogramVec {
		m := names.MetricNamed(name)
		labels := make([]string, len(m.Labels))
		for i, key := range m.Labels {
			labels[i] = names.LabelName(key)
		}
		histograms := prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: m.PrometheusName(), Help: m.Meaning, Buckets: m.Buckets}, labels)
		registry.MustRegister(histograms)
		return histograms
	}
	vector(names.MetricUtilization).WithLabelValues()
	vector(names.MetricRetryAfter).WithLabelValues()
	stages := vector(names.MetricStageDuration)
	for _, stage := range middleware.StageNames() {
		for _, reason := range middleware.ReasonsOf(stage) {
			stages.WithLabelValues(stage, reason.Info().Verdict.String())
		}
	}
	return registry
}
