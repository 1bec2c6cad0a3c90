package grafana_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tyk_proxy/middleware/storetest"
	"tyk_proxy/observability/promtest"
)

// query is one question of a dashboard to Prometheus.
type query struct {
	where    string
	expr     string
	kind     string // of the panel
	exemplar bool
	step     string // the least
}

func queries(t *testing.T) []query {
	t.Helper()
	var all []query
	for _, d := range dashboards(t) {
		for _, a := range d.Annotations.List {
			if a.Expr != "" {
				all = append(all, query{where: d.file + ": " + a.Name, expr: a.Expr, kind: "annotation"})
			}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if p.Datasource != nil && p.Datasource.Type == "prometheus" {
					all = append(all, query{d.file + ": " + p.Title + " " + q.RefID, q.Expr, p.Type, q.Exemplar, q.Interval})
				}
			}
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`([A-Za-z_:][\w:]*)?\{([^{}]*)\}`)
	window   = regexp.MustCompile(`(\w+)\([^()]*\[([^\]]*)\]`)
	recorded = regexp.MustCompile(`(?m)^\s*- record: (\S+)$`)
)

func TestQueriesAskForWhatExists(t *testing.T) {
	known, labels := promtest.Catalogue()
	for _, label := range []string{"quantile", "service_name", "service_version", "version"} {
		labels[label] = true // of the Go runtime, and of target_info
	}
	for _, m := range recorded.FindAllSubmatch(read(t, "../prometheus/rules/recording.yml"), -1) {
		known[string(m[1])] = true
	}
	foreign := regexp.MustCompile(`^(?:(?:go|process|scrape|prometheus)_\w+|up|target_info)$`)
	for _, q := range queries(t) {
		for _, name := range promtest.Metrics(q.expr) {
			if !known[name] && !foreign.MatchString(name) {
				t.Errorf("%s: there is no metric %s", q.where, name)
			}
		}
		for _, label := range promtest.Labels(q.expr) {
			if !labels[label] {
				t.Errorf("%s: no metric has the label %s", q.where, label)
			}
		}
	}
}

// What is recorded for a whole job has no instance.
func TestQueriesFollowTheVariables(t *testing.T) {
	for _, q := range queries(t) {
		found := selector.FindAllStringSubmatch(q.expr, -1)
		named := 0
		for _, m := range found {
			if m[1] != "" {
				named++
			}
			if !strings.Contains(m[2], `job=~"$job"`) ||
				!strings.HasPrefix(m[1], "job:") && !strings.Contains(m[2], `instance=~"$instance"`) {
				t.Errorf("%s: %s does not follow job and instance", q.where, m[0])
			}
		}
		if len(found) == 0 || named != len(promtest.Metrics(q.expr)) {
			t.Errorf("%s: a metric has no selector in %s", q.where, q.expr)
		}
	}
}

// An increase is over what is looked at, or what a point stands for; a rate
// must reach over four scrapes, which Grafana knows.
func TestRatesUseTheRateInterval(t *testing.T) {
	for _, q := range queries(t) {
		for _, m := range window.FindAllStringSubmatch(promtest.Unquoted(q.expr), -1) {
			if m[2] != "$__rate_interval" && (m[1] != "increase" || m[2] != "$__range") {
				t.Errorf("%s: %s over %s", q.where, m[1], m[2])
			}
		}
	}
}

// What is recorded is there as often as rules are evaluated, and not at each
// scrape: a rate of it that reaches over four scrapes would see one sample.
func TestRatesOfRecordedCountersKnowTheirStep(t *testing.T) {
	every := regexp.MustCompile(`(?m)^ +evaluation_interval: (\S+)$`).FindSubmatch(read(t, "../prometheus/prometheus.yml"))
	if every == nil {
		t.Fatal("prometheus.yml does not say how often rules are evaluated")
	}
	for _, q := range queries(t) {
		if regexp.MustCompile(`\w+:count\{`).MatchString(q.expr) && q.step != string(every[1]) {
			t.Errorf("%s: its least step is %q, want %s", q.where, q.step, every[1])
		}
	}
}

// Nothing happened is 0 and not "No data", which looks like a broken dashboard.
func TestEmptyPanelsShowZero(t *testing.T) {
	for _, q := range queries(t) {
		if q.kind != "annotation" && !regexp.MustCompile(`\bor (?:on\(\) |0 \* )`).MatchString(q.expr) {
			t.Errorf("%s: nothing instead of 0: %s", q.where, q.expr)
		}
	}
}

// The measurements of a request carry its trace, of a histogram those in the
// buckets. Panels of Redis' commands need not show theirs: the stages', in which
// they are sent, lead to the same traces.
func TestLatencyLeadsToTraces(t *testing.T) {
	duration := regexp.MustCompile(`(?:http|gateway)_\w+_bucket`)
	shown := make(map[string]bool)
	for _, q := range queries(t) {
		if q.kind != "timeseries" && q.kind != "heatmap" || !strings.Contains(q.expr, "_bucket") {
			if q.exemplar && !strings.Contains(q.expr, "_total") {
				t.Errorf("%s: has no exemplars to show", q.where)
			}
			continue
		}
		panel := q.where[:strings.LastIndex(q.where, " ")]
		shown[panel] = shown[panel] || q.exemplar || !duration.MatchString(q.expr)
	}
	for panel, ok := range shown {
		if !ok {
			t.Errorf("%s: shows no exemplars", panel)
		}
	}
}

func TestQueriesParse(t *testing.T) {
	promtool := storetest.Installed(t, "promtool")
	values := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$job", ".*", "$instance", ".*")
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	all := queries(t)
	rules := make([]rule, 0, len(all))
	for i, q := range all {
		expr := values.Replace(q.expr)
		if strings.Contains(expr, "$") {
			t.Errorf("%s: a variable that nothing sets: %s", q.where, q.expr)
		}
		rules = append(rules, rule{fmt.Sprintf("query_%d", i), expr})
	}
	// JSON is YAML too.
	content, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboards", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", file).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	if want := fmt.Sprintf("%d rules found", len(rules)); !strings.Contains(string(out), want) {
		t.Errorf("promtool said %q, want %q", out, want)
	}
}
