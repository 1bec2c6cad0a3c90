package grafana_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The standard library reads no YAML; these lines are all that matters here.
var (
	uidLine         = regexp.MustCompile(`(?m)^    uid: (\S+)$`)
	urlLine         = regexp.MustCompile(`(?m)^    url: (\S+)$`)
	destinationLine = regexp.MustCompile(`(?m)^ +(?:- )?datasourceUid: (\S+)$`)
	dollar          = regexp.MustCompile(`(?:^|[^$])\$(?:[^$]|$)`)
	dashboardURL    = regexp.MustCompile(`/d/([\w-]+)`)
)

func matches(re *regexp.Regexp, content string) []string {
	all := re.FindAllStringSubmatch(content, -1)
	found := make([]string, 0, len(all))
	for _, m := range all {
		found = append(found, m[1])
	}
	return found
}

func TestDataSourcesHaveFixedUIDs(t *testing.T) {
	content := string(read(t, "provisioning/datasources/datasources.yml"))
	known := matches(uidLine, content)
	if want := []string{"prometheus", "jaeger"}; !slices.Equal(known, want) {
		t.Errorf("the data sources are %q, want %q", known, want)
	}
	if got, want := matches(urlLine, content), []string{"http://prometheus:9090", "http://jaeger:16686"}; !slices.Equal(got, want) {
		t.Errorf("their addresses are %q, want %q", got, want)
	}
	// Exemplars lead to Jaeger and traces lead back.
	if got, want := matches(destinationLine, content), []string{"jaeger", "prometheus"}; !slices.Equal(got, want) {
		t.Errorf("links lead to %q, want %q", got, want)
	}
	if !strings.Contains(content, "exemplarTraceIdDestinations:\n        - name: trace_id\n") {
		t.Error("the label of exemplars is trace_id; no link is made of it")
	}
	for _, uid := range matches(dashboardURL, content) {
		if !slices.ContainsFunc(dashboards(t), func(d dashboard) bool { return d.UID == uid }) {
			t.Errorf("an exemplar links to the dashboard %q, which is not there", uid)
		}
	}
	for line := range strings.Lines(content) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && dollar.MatchString(line) {
			t.Errorf("Grafana replaces a single $ by the environment; write $$ in %q", line)
		}
	}
}

func TestDashboardsAreProvisioned(t *testing.T) {
	content := string(read(t, "provisioning/dashboards/dashboards.yml"))
	for _, want := range []string{
		"    type: file\n", "    folder: tyk_proxy\n", "    disableDeletion: true\n",
		"    allowUiUpdates: false\n", "      path: /etc/grafana/dashboards\n",
	} {
		if !strings.Contains(content, want) {
			t.Errorf("dashboards.yml lacks %q", want)
		}
	}
}
