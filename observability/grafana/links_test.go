package grafana_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tyk_proxy/telemetry/names"
)

func TestDashboardsLinkToOneAnother(t *testing.T) {
	for _, d := range dashboards(t) {
		if d.UID != uids[d.file] || d.Title == "" || d.Description == "" {
			t.Errorf("%s: uid %q, title %q, description %q", d.file, d.UID, d.Title, d.Description)
		}
		linked := make(map[string]bool)
		for _, l := range d.Links {
			if !l.KeepTime || !l.IncludeVars {
				t.Errorf("%s: the link %q loses the time range or the variables", d.file, l.Title)
			}
			linked[strings.TrimPrefix(l.URL, "/d/")] = true
		}
		for file, uid := range uids {
			if want := file != d.file && file != oneRequest; linked[uid] != want {
				t.Errorf("%s: links to %s: %v, want %v", d.file, uid, linked[uid], want)
			}
		}
	}
}

// A panel that shows a trace is an error until it has an id: it stands where
// nobody comes without one.
func TestTracesStandOnTheirOwn(t *testing.T) {
	for _, d := range dashboards(t) {
		if shows := slices.ContainsFunc(d.Panels, func(p panel) bool { return p.Type == "traces" }); shows != (d.file == oneRequest) {
			t.Errorf("%s: shows a trace: %v", d.file, shows)
		}
	}
	content := string(read(t, "provisioning/datasources/datasources.yml"))
	if !strings.Contains(content, "url: /d/"+uids[oneRequest]+"?var-trace_id=$${__value.raw}\n") {
		t.Error("an exemplar does not lead to the dashboard of its request")
	}
}

// explorePane is what a link to Explore opens.
type explorePane struct {
	Datasource string `json:"datasource"`
	Queries    []struct {
		QueryType string `json:"queryType"`
		Service   string `json:"service"`
		Tags      string `json:"tags"`
		Query     string `json:"query"`
	} `json:"queries"`
}

var (
	urls        = regexp.MustCompile(`"url": "([^"]*)"`)
	placeholder = regexp.MustCompile(`\$\{[^}]*\}`)
)

// Grafana opens an empty page for a link that it does not understand.
func TestLinksLeadSomewhere(t *testing.T) {
	searches := make(map[string]int)
	for _, d := range dashboards(t) {
		for _, m := range urls.FindAllSubmatch(d.raw, -1) {
			u, err := url.Parse(placeholder.ReplaceAllString(string(m[1]), "VALUE"))
			if err != nil {
				t.Fatalf("%s: %v", d.file, err)
			}
			if uid, ok := strings.CutPrefix(u.Path, "/d/"); ok {
				if uid == uids[oneRequest] && u.Query().Get("var-trace_id") != "VALUE" {
					t.Errorf("%s: links to the dashboard of one request without saying which: %s", d.file, m[1])
				}
				if !slices.ContainsFunc(dashboards(t), func(d dashboard) bool { return d.UID == uid }) {
					t.Errorf("%s: links to the dashboard %q, which is not there", d.file, uid)
				}
				continue
			}
			var panes map[string]explorePane
			if err := json.Unmarshal([]byte(u.Query().Get("panes")), &panes); err != nil || u.Path != "/explore" || len(panes) != 1 {
				t.Fatalf("%s: %s is neither a dashboard nor Explore: %v", d.file, m[1], err)
			}
			for _, pane := range panes {
				if pane.Datasource != "jaeger" || len(pane.Queries) != 1 {
					t.Errorf("%s: %s does not ask Jaeger", d.file, m[1])
				}
				if q := pane.Queries[0]; q.QueryType == "search" && q.Service == "VALUE" {
					searches[q.Tags]++
				}
			}
		}
	}
	for _, tags := range []string{"gateway.reason=rate_limited", "gateway.reason=VALUE"} {
		if searches[tags] == 0 {
			t.Errorf("no link searches Jaeger for %s", tags)
		}
	}
}

// Whoever renames the service finds its traces all the same: what asks Jaeger
// for a service asks for the one that the metrics name.
func TestServiceIsTheVariable(t *testing.T) {
	fixed := regexp.MustCompile(`(?:"service": "|%22service%22:%22)([^"%]*)`)
	for _, d := range dashboards(t) {
		for _, m := range fixed.FindAllSubmatch(d.raw, -1) {
			if name := string(m[1]); name != "$service" && name != "${service}" {
				t.Errorf("%s: asks Jaeger for the service %q", d.file, name)
			}
		}
		i := slices.IndexFunc(d.Templating.List, func(v variable) bool { return v.Name == "service" })
		if i < 0 {
			t.Errorf("%s: no variable service, which the links pass on", d.file)
			continue
		}
		v := d.Templating.List[i]
		if v.Type != "query" || v.Hide != 2 || v.Multi || v.IncludeAll || v.Current.Value != "tyk_proxy" ||
			!strings.Contains(string(v.Query), `label_values(target_info{job=~\"$job\"}, service_name)`) {
			t.Errorf("%s: service is not the hidden name of the service of the job, at first tyk_proxy: %+v", d.file, v)
		}
	}
}

// What the log leaves out is said where somebody counts its lines.
func TestTextSaysThatTheLogIsASample(t *testing.T) {
	text := string(read(t, "dashboards/rate-limit.json"))
	if !strings.Contains(text, "docker compose logs") || !strings.Contains(text, string(names.AttrSuppressed)) {
		t.Errorf("the rate-limit dashboard counts lines of the log and does not name %s", names.AttrSuppressed)
	}
}
