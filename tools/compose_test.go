package tools

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose reads docker-compose.yml as `docker compose` would, with these
// variables alone and no .env file: without any, the defaults are tested.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{repoFile("docker-compose.yml")},
		cli.WithWorkingDirectory(repoFile(".")),
		cli.WithName("tyk_proxy"),
		cli.WithInterpolation(true),
		cli.WithEnv(env),
	)
	if err != nil {
		t.Fatal(err)
	}
	project, err := opts.LoadProject(context.Background())
	if err != nil {
		t.Fatalf("docker-compose.yml does not load: %v", err)
	}
	return project
}

func service(t *testing.T, p *types.Project, name string) types.ServiceConfig {
	t.Helper()
	s, ok := p.Services[name]
	if !ok {
		t.Fatalf("no service %q: config.json and the documentation name it", name)
	}
	return s
}

func TestComposeStartOrder(t *testing.T) {
	want := map[string]map[string]string{
		"gateway": {
			"tyk-redis":      types.ServiceConditionHealthy,
			"backend-whoami": types.ServiceConditionStarted, // a scratch image with no probe of its own
		},
		"prometheus": {"gateway": types.ServiceConditionStarted}, // one that fails at its start is watched too
		"grafana":    {"prometheus": types.ServiceConditionHealthy, "jaeger": types.ServiceConditionHealthy},
	}
	for name, s := range loadCompose(t).Services {
		got := map[string]string{}
		for other, d := range s.DependsOn {
			got[other] = d.Condition
		}
		if !maps.Equal(got, want[name]) {
			t.Errorf("%s depends_on %v, want %v", name, got, want[name])
		}
	}
}

func TestComposeHealthChecks(t *testing.T) {
	p := loadCompose(t)
	for name, s := range p.Services {
		if name == "backend-whoami" { // from scratch, with no probe of its own
			continue
		}
		if hc := s.HealthCheck; hc == nil || hc.Disable || len(hc.Test) == 0 || hc.Test[0] == "NONE" {
			t.Errorf("%s has no health check", name)
		}
	}
	image := healthCheckOf(finalStage(t, parseDockerfile(t)))
	if got := service(t, p, "gateway").HealthCheck.Test; !slices.Equal(got[1:], image) {
		t.Errorf("the gateway is probed by %q in compose, by %q in the image", got[1:], image)
	}
}

func TestComposeImages(t *testing.T) {
	want := map[string]string{
		"tyk-redis":      "redis:8.",
		"backend-whoami": "traefik/whoami:v1.",
		"jaeger":         "jaegertracing/jaeger:2.",
		"prometheus":     "prom/prometheus:v3.",
		"grafana":        "grafana/grafana:12.",
	}
	for name, s := range loadCompose(t).Services {
		if s.Build != nil {
			continue
		}
		if want[name] == "" || !strings.HasPrefix(s.Image, want[name]) {
			t.Errorf("%s: image %q, want %s", name, s.Image, want[name])
		}
		if !pinned(s.Image) {
			t.Errorf("%s: image %q has no tag that names a version", name, s.Image)
		}
	}
}

func TestComposeEveryServiceIsBounded(t *testing.T) {
	for name, s := range loadCompose(t).Services {
		if s.MemLimit == 0 {
			t.Errorf("%s has no memory limit", name)
		}
		if s.Logging == nil {
			t.Errorf("%s does not bound its log", name)
		} else if got := s.Logging; got.Driver != "json-file" || got.Options["max-size"] != "10m" || got.Options["max-file"] != "2" {
			t.Errorf("%s: log driver %q with %v, want json-file with 2 files of 10 MB", name, got.Driver, got.Options)
		}
		if s.Restart != "unless-stopped" {
			t.Errorf("%s: restart %q", name, s.Restart)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: security_opt %q lacks no-new-privileges", name, s.SecurityOpt)
		}
	}
}

func TestComposeGatewayIsConfined(t *testing.T) {
	gw := service(t, loadCompose(t), "gateway")
	if !gw.ReadOnly {
		t.Error("the root file system is writable")
	}
	if !slices.Equal(gw.CapDrop, []string{"ALL"}) || len(gw.CapAdd) != 0 {
		t.Errorf("capabilities: drop %q, add %q", gw.CapDrop, gw.CapAdd)
	}
	if gw.StopGracePeriod == nil {
		t.Error("no stop_grace_period: the default of 10 s is shorter than a drain")
	}
}
