package telemetry

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tyk_proxy/telemetry/names"
)

// series is one line of /metrics.
type series struct {
	name   string
	labels map[string]string
}

var (
	seriesLine = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? \S+$`)
	labelPair  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)`)
)

// seriesOf parses the text format, which has one series per line.
func seriesOf(t *testing.T, text string) []series {
	t.Helper()
	var all []series
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		found := seriesLine.FindStringSubmatch(line)
		if found == nil {
			t.Fatalf("not a series: %s", line)
		}
		s := series{name: found[1], labels: map[string]string{}}
		for _, pair := range labelPair.FindAllStringSubmatch(found[2], -1) {
			s.labels[pair[1]] = pair[2]
		}
		all = append(all, s)
	}
	return all
}

// seriesEach returns the number of series of one label set. A histogram has
// one for each boundary, +Inf, its sum and its count.
func seriesEach(m names.Metric) int {
	if m.Kind == names.KindHistogram {
		return len(m.Buckets) + 3
	}
	return 1
}

// owns reports whether a series has the metric's name.
func owns(m names.Metric, name string) bool {
	base := m.PrometheusName()
	return name == base || m.Kind == names.KindHistogram &&
		slices.Contains([]string{base + "_bucket", base + "_sum", base + "_count"}, name)
}

// ownerOf returns the metric of the catalogue to which a series belongs.
func ownerOf(name string) (names.Metric, bool) {
	for _, m := range names.Catalogue() {
		if owns(m, name) {
			return m, true
		}
	}
	return names.Metric{}, false
}
