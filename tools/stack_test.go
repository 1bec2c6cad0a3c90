package tools

import (
	"encoding/json"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// inRepo returns the file of the repository that a container sees under a path.
func inRepo(t *testing.T, s types.ServiceConfig, container string) string {
	t.Helper()
	for _, v := range s.Volumes {
		rest, below := strings.CutPrefix(container, v.Target)
		if v.Type != types.VolumeTypeBind || !below || rest != "" && rest[0] != '/' {
			continue
		}
		file := filepath.Join(v.Source, rest)
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s reads %s: %v", s.Name, container, err)
		}
		return file
	}
	t.Errorf("%s reads %s, which no mount brings", s.Name, container)
	return ""
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// argument returns the value of --name=value, or of --name value.
func argument(t *testing.T, s types.ServiceConfig, name string) string {
	t.Helper()
	for i, arg := range s.Command {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
		if arg == name && i+1 < len(s.Command) {
			return s.Command[i+1]
		}
	}
	t.Errorf("%s is started without %s", s.Name, name)
	return ""
}

// What is kept is in a named volume; what is configured comes from a file of
// the repository that the container cannot change.
func TestComposeMounts(t *testing.T) {
	p := loadCompose(t)
	data := map[string]string{"tyk-redis": "/data", "prometheus": "/prometheus", "grafana": "/var/lib/grafana"}
	for name, s := range p.Services {
		var named []string
		for _, v := range s.Volumes {
			switch v.Type {
			case types.VolumeTypeVolume:
				if _, ok := p.Volumes[v.Source]; !ok {
					t.Errorf("%s: the volume at %s has no name", name, v.Target)
				}
				named = append(named, v.Target)
			case types.VolumeTypeBind:
				inRepo(t, s, v.Target)
				if rel, err := filepath.Rel(absolute(t, repoFile("observability")), v.Source); err != nil || strings.HasPrefix(rel, "..") {
					t.Errorf("%s mounts %s, which is not under observability/", name, v.Source)
				}
				if !v.ReadOnly {
					t.Errorf("%s may write to %s", name, v.Target)
				}
			default:
				t.Errorf("%s has a mount of the type %s at %s", name, v.Type, v.Target)
			}
		}
		if got := strings.Join(named, " "); got != data[name] {
			t.Errorf("%s keeps %q, want %q", name, got, data[name])
		}
	}
}

// notPassed are the variables that mean something else inside the container.
func notPassed() map[string]string {
	const (
		fixed = "prometheus.yml, the health check and the published ports name it"
		file  = "names a file, which needs a mount: docker-compose.override.yml has both"
	)
	return map[string]string{
		"TYK_PROX_APPLICATION__PORT":                   fixed,
		"TYK_PROX_APPLICATION__TOKEN__PUBLIC_KEY_FILE": file,
		"TYK_PROX_REDIS__ADDR":                         "the Redis is the service tyk-redis",
		"TYK_PROX_REDIS__TLS_CA_FILE":                  file,
		"TYK_PROX_MONITORING__IP":                      fixed,
		"TYK_PROX_MONITORING__SCHEME":                  fixed,
		"TYK_PROX_MONITORING__PORT":                    fixed,
		"TYK_PROX_MONITORING__TLS_CERT_FILE":           file,
		"TYK_PROX_MONITORING__TLS_KEY_FILE":            file,
	}
}

func TestComposePassesTheVariables(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^(TYK_PROX_\w+)=`).FindAllStringSubmatch(readRepoFile(t, ".env.example"), -1)
	if len(lines) == 0 {
		t.Fatal(".env.example has no variable")
	}
	names, env := make([]string, 0, len(lines)), make([]string, 0, len(lines))
	for _, m := range lines {
		names, env = append(names, m[1]), append(env, m[1]+"=value of "+m[1])
	}
	got := service(t, loadCompose(t, env...), "gateway").Environment
	for _, name := range names {
		value, passed := got[name]
		switch reason := notPassed()[name]; {
		case reason != "" && passed:
			t.Errorf("%s reaches the gateway, though it %s", name, reason)
		case reason == "" && (value == nil || *value != "value of "+name):
			t.Errorf("%s does not reach the gateway", name)
		}
	}
	for name := range got {
		if !slices.Contains(names, name) {
			t.Errorf("the gateway is given %s, which .env.example does not know", name)
		}
	}
	for name := range notPassed() {
		if !slices.Contains(names, name) {
			t.Errorf("the exception %s is not in .env.example", name)
		}
	}
}

// Without any variable the gateway gets only what the stack needs.
func TestComposeDefaults(t *testing.T) {
	const endpoint = "TYK_PROX_TELEMETRY__TRACES__ENDPOINT"
	for name, value := range service(t, loadCompose(t), "gateway").Environment {
		switch {
		case name == endpoint && (value == nil || *value != "grpc://jaeger:4317"):
			t.Errorf("%s is not Jaeger's", name)
		case name != endpoint && value != nil:
			t.Errorf("%s is set to %q", name, *value)
		}
	}
}

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
