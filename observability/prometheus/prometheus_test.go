// Package prometheus_test checks the configuration, the rules and the runbook
// beside it: with promtool where it is installed, and against the catalogue of
// metrics everywhere.
package prometheus_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"tyk_proxy/middleware/storetest"
	"tyk_proxy/observability/promtest"
)

const (
	configFile  = "prometheus.yml"
	runbookFile = "../RUNBOOK.md"
	runbookURL  = "observability/RUNBOOK.md#"
)

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         *string           `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func (r rule) name() string { return r.Record + r.Alert }

// unitTests is what promtool test rules reads, as far as it matters here.
type unitTests struct {
	Tests []struct {
		Alerts []struct {
			Name     string           `yaml:"alertname"`
			Expected []map[string]any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		Exprs []struct {
			Expr    string           `yaml:"expr"`
			Samples []map[string]any `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	} `yaml:"tests"`
}

func TestPromtool(t *testing.T) {
	run := func(args ...string) {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			promtool(t, args...)
		})
	}
	run("check", "config", configFile)
	for _, file := range glob(t, "rules/*.yml") {
		run("check", "rules", file)
	}
	for _, file := range glob(t, "tests/*.yml") {
		run("test", "rules", file)
	}
}

func TestAlertsSayWhatAnOnCallNeeds(t *testing.T) {
	sections := runbookSections(t)
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		severity := r.Labels["severity"]
		if !slices.Contains([]string{"page", "ticket", "info"}, severity) {
			t.Errorf("%s: severity %q", r.Alert, severity)
		}
		if r.For == nil {
			t.Errorf("%s: no for", r.Alert)
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s: no summary", r.Alert)
		}
		if d := r.Annotations["description"]; !strings.Contains(d, "$value") {
			t.Errorf("%s: the description does not say the value: %q", r.Alert, d)
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbookURL)
		if !ok || anchor != strings.ToLower(r.Alert) {
			t.Errorf("%s: runbook_url %q is not its section", r.Alert, r.Annotations["runbook_url"])
		}
		section, ok := sections[anchor]
		if !ok {
			t.Errorf("%s: the runbook has no section #%s", r.Alert, anchor)
			continue
		}
		for _, part := range []string{"**Meaning.** " + severity + ".", "**Confirm.**", "```promql", "\nTraces: ", "**Do.**"} {
			if !strings.Contains(section, part) {
				t.Errorf("%s: its section of the runbook lacks %q", r.Alert, part)
			}
		}
	}
}

func TestRunbookHasNoStaleSection(t *testing.T) {
	alerts := make(map[string]bool)
	for _, r := range rules(t) {
		alerts[strings.ToLower(r.Alert)] = true
	}
	sections := runbookSections(t)
	for anchor, section := range sections {
		if strings.HasPrefix(anchor, "gateway") && !alerts[anchor] {
			t.Errorf("#%s: no such alert", anchor)
		}
		for _, link := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(section, -1) {
			if _, ok := sections[link[1]]; !ok {
				t.Errorf("#%s links to #%s, which does not exist", anchor, link[1])
			}
		}
	}
}

func TestEveryRuleIsTested(t *testing.T) {
	fires, quiet, values := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, file := range glob(t, "tests/*.yml") {
		var tests unitTests
		decode(t, file, false, &tests)
		for _, group := range tests.Tests {
			for _, a := range group.Alerts {
				fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
				quiet[a.Name] = quiet[a.Name] || len(a.Expected) == 0
			}
			for _, e := range group.Exprs {
				for _, name := range promtest.Metrics(e.Expr) {
					values[name] = values[name] || len(e.Samples) > 0
				}
			}
		}
	}
	for _, r := range rules(t) {
		switch {
		case r.Record != "" && !values[r.Record]:
			t.Errorf("%s: no test expects a value", r.Record)
		case r.Alert != "" && !fires[r.Alert]:
			t.Errorf("%s: no test expects it to fire", r.Alert)
		case r.Alert != "" && !quiet[r.Alert]:
			t.Errorf("%s: no test expects it not to fire", r.Alert)
		}
	}
}

func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, file := range glob(t, "rules/*.yml") {
		var content struct {
			Groups []struct {
				Name     string `yaml:"name"`
				Interval string `yaml:"interval"`
				Rules    []rule `yaml:"rules"`
			} `yaml:"groups"`
		}
		decode(t, file, true, &content)
		for _, group := range content.Groups {
			all = append(all, group.Rules...)
		}
	}
	return all
}

// runbookSections returns the text below each heading by the anchor that
// Markdown renderers give it.
func runbookSections(t *testing.T) map[string]string {
	t.Helper()
	sections := make(map[string]string)
	text := string(read(t, runbookFile))
	headings := regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatchIndex(text, -1)
	for i, h := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		anchor := strings.ReplaceAll(strings.ToLower(text[h[2]:h[3]]), " ", "-")
		sections[anchor] = text[h[1]:end]
	}
	return sections
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	path := storetest.Installed(t, "promtool")
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files: %v", pattern, err)
	}
	return files
}

func decode(t *testing.T, file string, strict bool, into any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(read(t, file)))
	d.KnownFields(strict)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
