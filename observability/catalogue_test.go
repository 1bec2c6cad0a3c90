package observability_test

import (
	"path/filepath"
	"strings"
	"testing"

	"tyk_proxy/telemetry/names"
)

// unused are the metrics that no panel and no rule shows, and why.
func unused() map[string]string { return map[string]string{} }

// TestEveryMetricIsShown: what is measured is looked at somewhere, or it is said
// why not. (That panels and rules ask only for metrics that exist is tested
// beside them.)
func TestEveryMetricIsShown(t *testing.T) {
	var questions strings.Builder
	for _, p := range panels(t) {
		questions.WriteString(p.query + "\n")
	}
	rules, err := filepath.Glob("prometheus/rules/*.yml")
	if err != nil || len(rules) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	for _, file := range rules {
		for line := range strings.Lines(string(read(t, file))) {
			if !strings.HasPrefix(strings.TrimSpace(line), "#") {
				questions.WriteString(line)
			}
		}
	}
	for _, m := range names.Catalogue() {
		asked := strings.Contains(questions.String(), m.PrometheusName())
		if _, excused := unused()[m.Name]; asked == excused {
			t.Errorf("%s: asked for %v, listed as unused %v; want one of the two", m.Name, asked, excused)
		}
	}
}
