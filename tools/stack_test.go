package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
		if !slices.Contains(names, name) && name != "GOMEMLIMIT" { // Go's own
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
		case name != endpoint && name != "GOMEMLIMIT" && value != nil:
			t.Errorf("%s is set to %q", name, *value)
		}
	}
}
