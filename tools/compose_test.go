package tools

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose reads docker-compose.yml as `docker compose` would, but with no
// variable of the environment and no .env file, so that the defaults are tested.
func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{repoFile("docker-compose.yml")},
		cli.WithWorkingDirectory(repoFile(".")),
		cli.WithName("tyk_proxy"),
		cli.WithInterpolation(true),
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

func TestComposeGatewayWaitsForItsNeeds(t *testing.T) {
	gw := service(t, loadCompose(t), "gateway")
	want := map[string]string{
		"tyk-redis":      types.ServiceConditionHealthy,
		"backend-whoami": types.ServiceConditionStarted, // a scratch image with no probe of its own
	}
	for name, condition := range want {
		if got := gw.DependsOn[name].Condition; got != condition {
			t.Errorf("gateway depends_on %s: condition %q, want %q", name, got, condition)
		}
	}
}

func TestComposeHealthChecks(t *testing.T) {
	p := loadCompose(t)
	for _, name := range []string{"gateway", "tyk-redis"} {
		hc := service(t, p, name).HealthCheck
		if hc == nil || hc.Disable || len(hc.Test) == 0 || hc.Test[0] == "NONE" {
			t.Errorf("%s has no health check", name)
		}
	}
	image := healthCheckOf(finalStage(t, parseDockerfile(t)))
	if got := service(t, p, "gateway").HealthCheck.Test; !slices.Equal(got[1:], image) {
		t.Errorf("the gateway is probed by %q in compose, by %q in the image", got[1:], image)
	}
}

func TestComposeImagesArePinned(t *testing.T) {
	for name, s := range loadCompose(t).Services {
		if s.Build == nil && !pinned(s.Image) {
			t.Errorf("%s: image %q has no tag that names a version", name, s.Image)
		}
	}
}

func TestComposePublishedPorts(t *testing.T) {
	p := loadCompose(t)
	want := map[string][]string{
		"gateway":   {"8080:8080", "9090:9090"},
		"tyk-redis": {"127.0.0.1:6379:6379"}, // for `make gen` on the host, and for nobody else
	}
	for name, ports := range want {
		got := make([]string, 0, len(ports))
		for _, port := range service(t, p, name).Ports {
			got = append(got, strings.TrimPrefix(port.HostIP+":"+port.Published+":", ":")+target(port))
		}
		slices.Sort(got)
		if !reflect.DeepEqual(got, ports) {
			t.Errorf("%s publishes %q, want %q", name, got, ports)
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
	if !slices.Contains(gw.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("security_opt %q lacks no-new-privileges", gw.SecurityOpt)
	}
	if gw.MemLimit == 0 {
		t.Error("no memory limit")
	}
	if gw.StopGracePeriod == nil {
		t.Error("no stop_grace_period: the default of 10 s is shorter than a drain")
	}
	if gw.Restart != "unless-stopped" {
		t.Errorf("restart %q", gw.Restart)
	}
}
