package tools

import (
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// publication is a port of a container as the host sees it.
type publication struct{ variable, service, host, target string }

func publications() []publication {
	return []publication{
		{"GATEWAY_PORT", "gateway", "8080", "8080"},
		{"METRICS_PORT", "gateway", "9090", "9090"},
		{"REDIS_PORT", "tyk-redis", "6379", "6379"},
		{"JAEGER_PORT", "jaeger", "16686", "16686"},
		{"OTLP_GRPC_PORT", "jaeger", "4317", "4317"},
		{"OTLP_HTTP_PORT", "jaeger", "4318", "4318"},
		{"PROMETHEUS_PORT", "prometheus", "9091", "9090"},
		{"GRAFANA_PORT", "grafana", "3000", "3000"},
	}
}

// All ports but the gateway's own are for this machine alone, unless
// BIND_ADDRESS says otherwise: none asks for a password.
func TestComposePublishedPorts(t *testing.T) {
	moved := make([]string, 0, len(publications()))
	for i, p := range publications() {
		moved = append(moved, p.variable+"="+strconv.Itoa(20000+i))
	}
	tests := map[string]struct {
		env     []string
		address string
	}{
		"defaults":         {nil, "127.0.0.1"},
		"a bare port":      {[]string{"REDIS_PORT=6380"}, "127.0.0.1"},
		"empty":            {[]string{"REDIS_PORT=", "BIND_ADDRESS="}, "127.0.0.1"},
		"all moved":        {moved, "127.0.0.1"},
		"open":             {[]string{"BIND_ADDRESS=0.0.0.0"}, "0.0.0.0"},
		"moved and opened": {append([]string{"BIND_ADDRESS=0.0.0.0"}, moved...), "0.0.0.0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := map[string][]string{}
			for _, p := range publications() {
				host := p.host
				for _, variable := range tt.env {
					if value, ok := strings.CutPrefix(variable, p.variable+"="); ok && value != "" {
						host = value
					}
				}
				if p.variable != "GATEWAY_PORT" {
					host = tt.address + ":" + host
				}
				want[p.service] = append(want[p.service], host+":"+p.target)
			}
			if got := published(loadCompose(t, tt.env...)); !reflect.DeepEqual(got, want) {
				t.Errorf("published are %v, want %v", got, want)
			}
		})
	}
}

func published(p *types.Project) map[string][]string {
	found := map[string][]string{}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			found[name] = append(found[name], strings.TrimPrefix(port.HostIP+":"+port.Published+":", ":")+target(port))
		}
	}
	return found
}

// The variables that move compose's ports, in the environment or in .env, move
// the places of `make traffic` and `make gen` and the links of `make up` too.
func TestMakeFindsThePorts(t *testing.T) {
	tests := []struct {
		name  string
		env   []string
		file  string // the content of .env
		flags []string
		links []string
		gen   []string // how token_gen is called
		port  string   // of the gateway, as token_gen sees it
	}{
		{"defaults", nil, "", nil, []string{
			":8080\n", ":8080/ready\n", ":9090/metrics\n", ":3000\n", ":9091\n", ":16686\n",
		}, nil, ""},
		{
			"environment", []string{"GATEWAY_PORT=18080", "REDIS_PORT=16379", "METRICS_PORT=19090"}, "",
			[]string{"-gateway", "http://localhost:18080", "-redis", "localhost:16379"},
			[]string{":18080\n", ":18080/ready\n", ":19090/metrics\n", ":3000\n"},
			[]string{"-redis", "localhost:16379"}, "18080",
		},
		{
			".env", nil, "GRAFANA_PORT=1\nexport GRAFANA_PORT=\"2\"\r\nPROMETHEUS_PORT = '3' # moved\n#JAEGER_PORT=9\nJAEGER_PORT=4\n" +
				"MY_GATEWAY_PORT=9\nMETRICS_PORT=5",
			[]string{"-grafana", "http://localhost:2", "-prometheus", "http://localhost:3", "-jaeger", "http://localhost:4"},
			[]string{":8080\n", ":5/metrics\n", ":2\n", ":3\n", ":4\n"}, nil, "",
		},
		{
			"both", []string{"GATEWAY_PORT=6"}, "GATEWAY_PORT=7\nJAEGER_PORT=8\n",
			[]string{"-gateway", "http://localhost:6", "-jaeger", "http://localhost:8"},
			[]string{":6\n", ":8\n"}, nil, "6",
		},
		{
			".env, for a token", nil, "GATEWAY_PORT='7' # moved\nexport REDIS_PORT=8\n",
			[]string{"-gateway", "http://localhost:7", "-redis", "localhost:8"},
			[]string{":7\n"}, []string{"-redis", "localhost:8"}, "7",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				write(t, dir+"/.env", tt.file, 0o600)
			}
			got, _ := handed(t, dir, "traffic", tt.env, "SECRET=s", "ARGS=-json", "traffic")
			if want := slices.Concat([]string{"-secret", "s"}, tt.flags, []string{"-json"}); !slices.Equal(got, want) {
				t.Errorf("traffic got %q, want %q", got, want)
			}
			got, _ = handed(t, dir, "token_gen", tt.env, "SECRET=s", "ARGS=-limit 1", "gen")
			if want := slices.Concat([]string{"-secret", "s"}, tt.gen, []string{"-limit", "1"}); !slices.Equal(got, want) {
				t.Errorf("token_gen got %q, want %q", got, want)
			}
			if port, err := os.ReadFile(dir + "/port"); err != nil || string(port) != tt.port {
				t.Errorf("token_gen takes the gateway's port to be %q (%v), want %q", port, err, tt.port)
			}
			// A compose that has no services is healthy at once.
			if err := os.Symlink(absolute(t, repoFile(".ci")), dir+"/.ci"); err != nil {
				t.Fatal(err)
			}
			out := runMake(t, tt.env, "-C", dir, "-f", absolute(t, repoFile("Makefile")), "COMPOSE=true", "up")
			for _, link := range tt.links {
				if !strings.Contains(out, "http://localhost"+link) {
					t.Errorf("make up prints no link to %q:\n%s", link, out)
				}
			}
		})
	}
}
