package prometheus_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tyk_proxy/middleware"
	"tyk_proxy/observability/promtest"
)

// Rules, the queries in descriptions and those of the runbook name only metrics,
// labels, jobs and reasons that exist.
func TestQueriesUseWhatExists(t *testing.T) {
	metrics, labels := known(t)
	jobs := scrapedJobs(t)
	reason := regexp.MustCompile(`gateway_reason=~?['"](\w+)(\.\+)?['"]`)
	for where, query := range queries(t) {
		for _, name := range promtest.Metrics(query) {
			if !metrics[name] && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				t.Errorf("%s: no metric %s", where, name)
			}
		}
		for _, label := range promtest.Labels(query) {
			if !labels[label] {
				t.Errorf("%s: no label %s", where, label)
			}
		}
		for _, m := range reason.FindAllStringSubmatch(query, -1) {
			if !reasonWith(m[1], m[2]) {
				t.Errorf("%s: no reason %s", where, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\bjob=['"](\w+)['"]`).FindAllStringSubmatch(query, -1) {
			if !jobs[m[1]] {
				t.Errorf("%s: no job %s in %s", where, m[1], configFile)
			}
		}
	}
}

func TestRunbookNamesReasonsThatExist(t *testing.T) {
	tag := regexp.MustCompile(`gateway\.reason=(\w+)`)
	for anchor, section := range runbookSections(t) {
		for _, m := range tag.FindAllStringSubmatch(section, -1) {
			if !reasonWith(m[1], "") {
				t.Errorf("#%s: no reason %s", anchor, m[1])
			}
		}
	}
}

// reasonWith reports whether a reason is called name, or begins with it where
// the name is followed by rest.
func reasonWith(name, rest string) bool {
	return slices.ContainsFunc(middleware.Reasons(), func(r middleware.Reason) bool {
		return r.Info().Name == name || rest != "" && strings.HasPrefix(r.Info().Name, name)
	})
}

// known returns the names of every metric that can be asked for, and of every
// label.
func known(t *testing.T) (metrics, labels map[string]bool) {
	t.Helper()
	metrics, labels = promtest.Catalogue()
	metrics["up"] = true
	labels["metric"] = true // GatewayCardinalityOverflow makes it with label_replace
	for _, r := range rules(t) {
		metrics[r.Record] = true
	}
	return metrics, labels
}

// queries returns every PromQL expression by where it stands.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, r := range rules(t) {
		all[r.name()] = r.Expr
		for _, q := range regexp.MustCompile(`printf\s+"([^"]{9,})"`).FindAllStringSubmatch(r.Annotations["description"], -1) {
			all[r.name()+", description: "+q[1]] = strings.ReplaceAll(q[1], "='%s'", "=''")
		}
	}
	block := regexp.MustCompile("(?s)```promql\n(.*?)```")
	inline := regexp.MustCompile("`([^`\n]*[({][^`\n]*[)}][^`\n]*\\[[0-9]+[a-z]\\][^`\n]*)`")
	for anchor, section := range runbookSections(t) {
		for _, q := range append(block.FindAllStringSubmatch(section, -1), inline.FindAllStringSubmatch(section, -1)...) {
			all["runbook #"+anchor+": "+q[1]] = q[1]
		}
	}
	return all
}

func scrapedJobs(t *testing.T) map[string]bool {
	t.Helper()
	var config struct {
		Scrape []struct {
			Job string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	decode(t, configFile, false, &config)
	jobs := make(map[string]bool)
	for _, s := range config.Scrape {
		jobs[s.Job] = true
	}
	return jobs
}
