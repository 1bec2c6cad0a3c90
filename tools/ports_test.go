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

// `make up` asks compose where each service is published.
func TestMakeUpPrintsThePorts(t *testing.T) {
	dir := t.TempDir()
	// A compose that has no services is healthy at once.
	script := "#!/bin/sh\ncase \"$*\" in\n"
	var want []string
	for i, p := range publications() {
		script += "\"port " + p.service + " " + p.target + "\") echo 0.0.0.0:" + strconv.Itoa(18000+i) + " ;;\n"
		if !slices.Contains([]string{"REDIS_PORT", "OTLP_GRPC_PORT", "OTLP_HTTP_PORT"}, p.variable) {
			want = append(want, "http://localhost:"+strconv.Itoa(18000+i))
		}
	}
	write(t, dir+"/compose", script+"esac\n")
	if err := os.Symlink(absolute(t, repoFile(".ci")), dir+"/.ci"); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"up", "up-b"} {
		out := runMake(t, nil, "-C", dir, "-f", absolute(t, repoFile("Makefile")), "COMPOSE="+dir+"/compose", target)
		for _, link := range want {
			if !strings.Contains(out, link) {
				t.Errorf("make %s prints no link to %q:\n%s", target, link, out)
			}
		}
	}
}
