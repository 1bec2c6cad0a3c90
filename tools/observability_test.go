package tools

import (
	"encoding/json"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

func TestComposePrometheus(t *testing.T) {
	p := loadCompose(t)
	s := service(t, p, "prometheus")
	if got := argument(t, s, "--enable-feature"); got != "exemplar-storage" {
		t.Errorf("--enable-feature=%s, want exemplar-storage", got)
	}
	// The error budgets look back over 30 days.
	retention := argument(t, s, "--storage.tsdb.retention.time")
	if days, err := strconv.Atoi(strings.TrimSuffix(retention, "d")); err != nil || days <= 30 {
		t.Errorf("retention %s, want more than 30d", retention)
	}
	if dir := argument(t, s, "--storage.tsdb.path"); !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Type == types.VolumeTypeVolume && v.Target == dir
	}) {
		t.Errorf("the data in %s is in no volume", dir)
	}
	var config struct {
		Rules []string `yaml:"rule_files"`
		Jobs  []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	file := argument(t, s, "--config.file")
	readYAML(t, inRepo(t, s, file), &config)
	for _, rules := range config.Rules {
		dir := inRepo(t, s, path.Join(path.Dir(file), path.Dir(rules)))
		if found, err := filepath.Glob(filepath.Join(dir, path.Base(rules))); err != nil || len(found) == 0 {
			t.Errorf("rule_files: the container finds no %s", rules)
		}
	}
	if len(config.Rules) == 0 || len(config.Jobs) == 0 {
		t.Errorf("prometheus.yml has %d rule files and %d jobs", len(config.Rules), len(config.Jobs))
	}
	var scraped []string
	for _, job := range config.Jobs {
		for _, static := range job.Static {
			scraped = append(scraped, static.Targets...)
		}
	}
	slices.Sort(scraped)
	want := []string{"gateway:" + configured(t).Monitoring, "jaeger:" + jaegerListens(t, p)["metrics"], "localhost:9090"}
	if !slices.Equal(scraped, want) {
		t.Errorf("Prometheus scrapes %q, want %q", scraped, want)
	}
}

// configured are the ports that the gateway listens on in its container.
func configured(t *testing.T) (ports struct{ Application, Monitoring string }) {
	t.Helper()
	var config struct{ Application, Monitoring struct{ Port int } }
	if err := json.Unmarshal([]byte(readRepoFile(t, "config.json")), &config); err != nil {
		t.Fatal(err)
	}
	ports.Application = strconv.Itoa(config.Application.Port)
	ports.Monitoring = strconv.Itoa(config.Monitoring.Port)
	return ports
}

type endpoint struct{ Endpoint string }

func (e endpoint) port() string { return e.Endpoint[strings.LastIndex(e.Endpoint, ":")+1:] }

// jaegerListens returns the ports of the configuration that Jaeger is given.
func jaegerListens(t *testing.T, p *types.Project) map[string]string {
	t.Helper()
	var config struct {
		Extensions struct {
			Query  struct{ HTTP endpoint } `yaml:"jaeger_query"`
			Health struct{ HTTP endpoint } `yaml:"healthcheckv2"`
		}
		Receivers struct {
			OTLP struct {
				Protocols struct{ GRPC, HTTP endpoint }
			}
		}
		Service struct {
			Telemetry struct {
				Metrics struct {
					Readers []struct {
						Pull struct {
							Exporter struct{ Prometheus struct{ Port int } }
						}
					}
				}
			}
		}
	}
	s := service(t, p, "jaeger")
	readYAML(t, inRepo(t, s, argument(t, s, "--config")), &config)
	listens := map[string]string{
		"ui":        config.Extensions.Query.HTTP.port(),
		"health":    config.Extensions.Health.HTTP.port(),
		"otlp grpc": config.Receivers.OTLP.Protocols.GRPC.port(),
		"otlp http": config.Receivers.OTLP.Protocols.HTTP.port(),
	}
	for _, reader := range config.Service.Telemetry.Metrics.Readers {
		listens["metrics"] = strconv.Itoa(reader.Pull.Exporter.Prometheus.Port)
	}
	return listens
}

func TestComposeJaeger(t *testing.T) {
	p := loadCompose(t)
	s, listens := service(t, p, "jaeger"), jaegerListens(t, p)
	targets := make([]string, 0, len(s.Ports))
	for _, port := range s.Ports {
		targets = append(targets, target(port))
	}
	if want := []string{listens["ui"], listens["otlp grpc"], listens["otlp http"]}; !slices.Equal(targets, want) {
		t.Errorf("published are %q, Jaeger listens on %q", targets, want)
	}
	if probe := strings.Join(s.HealthCheck.Test, " "); !strings.Contains(probe, ":"+listens["health"]+"/status") {
		t.Errorf("the health check is %q, Jaeger answers on %s/status", probe, listens["health"])
	}
}

func TestComposeGrafana(t *testing.T) {
	p := loadCompose(t)
	s := service(t, p, "grafana")
	setting := func(name string) string {
		if value := s.Environment[name]; value != nil {
			return *value
		}
		return ""
	}
	for name, want := range map[string]string{"GF_AUTH_ANONYMOUS_ENABLED": "true", "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer"} {
		if got := setting(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	home := inRepo(t, s, setting("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"))
	if want := absolute(t, repoFile("observability/grafana/dashboards/overview.json")); home != want {
		t.Errorf("the home dashboard is %s, want %s", home, want)
	}

	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, inRepo(t, s, "/etc/grafana/provisioning/dashboards/dashboards.yml"), &dashboards)
	if len(dashboards.Providers) != 1 {
		t.Fatalf("%d providers of dashboards, want 1", len(dashboards.Providers))
	}
	if dir := inRepo(t, s, dashboards.Providers[0].Options.Path); dir != filepath.Dir(home) {
		t.Errorf("the provisioned dashboards are those of %s, the home dashboard is in %s", dir, filepath.Dir(home))
	}

	var sources struct {
		Datasources []struct{ URL string }
	}
	readYAML(t, inRepo(t, s, "/etc/grafana/provisioning/datasources/datasources.yml"), &sources)
	for _, source := range sources.Datasources {
		u, err := url.Parse(source.URL)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(publications(), func(p publication) bool { return p.service == u.Hostname() && p.target == u.Port() }) {
			t.Errorf("a data source is at %s: no service listens there", source.URL)
		}
	}
}
