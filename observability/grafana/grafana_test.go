// Package grafana_test reads what Grafana is given: a machine without Grafana
// can tell all the same whether a dashboard is complete and asks for what exists.
// The program in tools/dashboards writes the files, with the types of Grafana's SDK.
package grafana_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// oneRequest is the dashboard that needs to be told a trace: without one, it
// shows an error of Jaeger's.
const oneRequest = "request.json"

// uids are those of the dashboards, by file.
var uids = map[string]string{
	oneRequest:        "tyk-proxy-request",
	"overview.json":   "tyk-proxy-overview",
	"rate-limit.json": "tyk-proxy-rate-limit",
	"pipeline.json":   "tyk-proxy-pipeline",
	"runtime.json":    "tyk-proxy-runtime",
}

type dashboard struct {
	file string
	raw  []byte

	UID         string  `json:"uid"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Links       []link  `json:"links"`
	Panels      []panel `json:"panels"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	Hide       int             `json:"hide"`
	Current    struct{ Value any }
}

type link struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	KeepTime    bool   `json:"keepTime"`
	IncludeVars bool   `json:"includeVars"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  *struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	} `json:"datasource"`
	GridPos     struct{ X, Y, W, H int } `json:"gridPos"`
	Targets     []target                 `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit       string `json:"unit"`
			Thresholds *struct {
				Steps []json.RawMessage `json:"steps"`
			} `json:"thresholds"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Options struct {
		Legend json.RawMessage `json:"legend"`
	} `json:"options"`
}

type target struct {
	RefID        string  `json:"refId"`
	Expr         string  `json:"expr"`
	LegendFormat *string `json:"legendFormat"`
	Exemplar     bool    `json:"exemplar"`
	Interval     string  `json:"interval"`
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) != len(uids) {
		t.Fatalf("there are %d dashboards, want %d (%v)", len(files), len(uids), err)
	}
	all := make([]dashboard, 0, len(files))
	for _, file := range files {
		d := dashboard{file: filepath.Base(file), raw: read(t, file)}
		if err := json.Unmarshal(d.raw, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// Two spaces, keys in alphabetical order, as Grafana itself writes them: a change
// that was made in the browser and copied here shows as what it is.
func TestDashboardsAreReadableInADiff(t *testing.T) {
	for _, d := range dashboards(t) {
		decoder := json.NewDecoder(bytes.NewReader(d.raw))
		decoder.UseNumber()
		var content map[string]any
		if err := decoder.Decode(&content); err != nil {
			t.Fatalf("%s: %v", d.file, err)
		}
		for _, noise := range []string{"id", "iteration", "version", "gnetId", "__inputs", "__requires"} {
			if _, ok := content[noise]; ok {
				t.Errorf("%s: %q is Grafana's bookkeeping and does not belong into the file", d.file, noise)
			}
		}
		var canonical bytes.Buffer
		encoder := json.NewEncoder(&canonical)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(content); err != nil {
			t.Fatalf("%s: %v", d.file, err)
		}
		if !bytes.Equal(d.raw, canonical.Bytes()) {
			t.Errorf("%s: not indented by two spaces with sorted keys: `jq -S . %s` writes it so", d.file, d.file)
		}
	}
}

func TestPanelsAreComplete(t *testing.T) {
	legends := []string{"timeseries", "state-timeline", "heatmap"}
	for _, d := range dashboards(t) {
		for i, p := range d.Panels {
			if p.ID != i+1 {
				t.Errorf("%s: panel %q has the id %d, want %d: they are counted", d.file, p.Title, p.ID, i+1)
			}
			if p.Title == "" {
				t.Errorf("%s: panel %d has no title", d.file, p.ID)
			}
			if p.Type == "row" {
				continue
			}
			if p.Description == "" {
				t.Errorf("%s: %q has no description", d.file, p.Title)
			}
			if p.Type == "text" {
				continue
			}
			if p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: %q has no unit", d.file, p.Title)
			}
			if slices.Contains(legends, p.Type) && len(p.Options.Legend) == 0 {
				t.Errorf("%s: %q has no legend", d.file, p.Title)
			}
			checkTargets(t, d, p)
			if th := p.FieldConfig.Defaults.Thresholds; p.Type != "traces" && (th == nil || len(th.Steps) == 0) {
				t.Errorf("%s: %q says nothing of thresholds: Grafana's default paints 80 red", d.file, p.Title)
			}
		}
	}
}

func checkTargets(t *testing.T, d dashboard, p panel) {
	t.Helper()
	if p.Datasource == nil {
		t.Errorf("%s: %q has no data source", d.file, p.Title)
		return
	}
	want := map[string]string{"prometheus": "${datasource}", "jaeger": "jaeger"}[p.Datasource.Type]
	if want == "" || p.Datasource.UID != want {
		t.Errorf("%s: %q asks %s %q, want %q", d.file, p.Title, p.Datasource.Type, p.Datasource.UID, want)
	}
	if len(p.Targets) == 0 {
		t.Errorf("%s: %q asks nothing", d.file, p.Title)
	}
	for i, q := range p.Targets {
		if want := string(rune('A' + i)); q.RefID != want {
			t.Errorf("%s: %q: query %d has the refId %q, want %q", d.file, p.Title, i, q.RefID, want)
		}
		if p.Datasource.Type == "prometheus" && (q.Expr == "" || q.LegendFormat == nil) {
			t.Errorf("%s: %q: query %s lacks an expression or a legend", d.file, p.Title, q.RefID)
		}
	}
}

// Whoever has another Prometheus chooses it at the top, for all there is.
func TestDataSourcesAreTheVariable(t *testing.T) {
	uid := regexp.MustCompile(`"uid": "([^"]*)"`)
	for _, d := range dashboards(t) {
		for _, m := range uid.FindAllSubmatch(d.raw, -1) {
			if !slices.Contains([]string{"${datasource}", "jaeger", "-- Grafana --", d.UID}, string(m[1])) {
				t.Errorf("%s: names the data source %q", d.file, m[1])
			}
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	for _, d := range dashboards(t) {
		taken := make(map[[2]int]string)
		for _, p := range d.Panels {
			g := p.GridPos
			if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
				t.Errorf("%s: %q is outside of the 24 columns: %+v", d.file, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %q lies on %q", d.file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

func TestDashboardsHaveTheirVariables(t *testing.T) {
	for _, d := range dashboards(t) {
		byName := make(map[string]variable)
		for _, v := range d.Templating.List {
			byName[v.Name] = v
		}
		if v := byName["datasource"]; v.Type != "datasource" || string(v.Query) != `"prometheus"` {
			t.Errorf("%s: no variable datasource of Prometheus: %+v", d.file, v)
		}
		for _, name := range []string{"job", "instance"} {
			if v := byName[name]; v.Type != "query" || !v.Multi || !v.IncludeAll {
				t.Errorf("%s: %s is no query of which several or all can be chosen: %+v", d.file, name, v)
			}
		}
	}
}
