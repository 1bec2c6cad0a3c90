package observability_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// panel is one question that a dashboard asks Prometheus.
type panel struct{ dashboard, title, query string }

// panels returns every query of every dashboard, with the variables replaced as
// Grafana would for a look at the last five minutes.
func panels(t *testing.T) []panel {
	t.Helper()
	files, err := filepath.Glob("grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	variables := strings.NewReplacer(
		"$__rate_interval", "1m", "${__rate_interval}", "1m", "$__interval", "15s", "${__interval}", "15s",
		"$__range", "5m", "${__range}", "5m",
		"${job}", ".*", "$job", ".*", "${instance}", ".*", "$instance", ".*",
		"${service}", "tyk_proxy", "$service", "tyk_proxy",
		"${job:regex}", ".*", "${instance:regex}", ".*",
	)
	type target struct {
		Expr string `json:"expr"`
	}
	type shown struct {
		Title   string   `json:"title"`
		Targets []target `json:"targets"`
		Panels  []shown  `json:"panels"` // of a collapsed row
	}
	var all []panel
	for _, file := range files {
		var dashboard struct {
			Panels []shown `json:"panels"`
		}
		if err := json.Unmarshal(read(t, file), &dashboard); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for len(dashboard.Panels) > 0 {
			p := dashboard.Panels[0]
			dashboard.Panels = append(dashboard.Panels[1:], p.Panels...)
			for _, q := range p.Targets {
				if q.Expr != "" {
					all = append(all, panel{filepath.Base(file), p.Title, variables.Replace(q.Expr)})
				}
			}
		}
	}
	return all
}
