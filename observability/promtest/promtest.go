// Package promtest parses PromQL expressions for the tests of dashboards and
// rules. It finds metrics and labels only; promtool checks the rest.
package promtest

import (
	"regexp"
	"slices"
	"strings"

	"tyk_proxy/telemetry/names"
)

var (
	quoted   = regexp.MustCompile(`"(?:\\.|[^"\\])*"|'[^']*'`)
	selector = regexp.MustCompile(`\{([^}]*)\}`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	duration = regexp.MustCompile(`\[[^\]]*\]|\boffset\s+\w+`)
	word     = regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(?`)
	labelled = regexp.MustCompile(`\w+`)
)

// Unquoted returns the expression with all strings replaced by empty ones.
func Unquoted(expr string) string { return quoted.ReplaceAllString(expr, `""`) }

// Metrics returns the metrics that an expression selects, with duplicates: the
// words that are not functions, operators, labels or strings.
func Metrics(expr string) []string {
	for _, other := range []*regexp.Regexp{quoted, selector, grouping, duration} {
		expr = other.ReplaceAllString(expr, " ")
	}
	var names []string
	for _, w := range word.FindAllString(expr, -1) {
		name := strings.TrimSpace(w)
		if !strings.HasSuffix(name, "(") && !slices.Contains([]string{"and", "or", "unless", "bool"}, name) {
			names = append(names, name)
		}
	}
	return names
}

// Labels returns the labels that an expression matches or groups by.
func Labels(expr string) []string {
	expr = Unquoted(expr)
	lists := append(selector.FindAllStringSubmatch(expr, -1), grouping.FindAllStringSubmatch(expr, -1)...)
	names := make([]string, 0, len(lists))
	for _, list := range lists {
		names = append(names, labelled.FindAllString(list[1], -1)...)
	}
	return names
}

// Catalogue returns the series of the gateway's metrics and their labels,
// including those that Prometheus adds.
func Catalogue() (series, labels map[string]bool) {
	series = make(map[string]bool)
	labels = map[string]bool{"__name__": true, "job": true, "instance": true, "le": true, "otel_metric_overflow": true}
	for _, m := range names.Catalogue() {
		name := m.PrometheusName()
		if m.Kind == names.KindHistogram {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				series[name+suffix] = true
			}
		} else {
			series[name] = true
		}
		for _, label := range m.Labels {
			labels[names.LabelName(label)] = true
		}
	}
	return series, labels
}
