package tools

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// perTrace is what a trace of the gateway's, of about ten spans, was seen to
// cost Jaeger in resident memory.
const perTrace = 18 << 10

// A full store leaves a third of the memory to work with.
func TestJaegerFitsItsMemory(t *testing.T) {
	s := service(t, loadCompose(t), "jaeger")
	traces := maxTraces(t, s)
	if store := traces * perTrace; traces == 0 || store > int64(s.MemLimit)*2/3 {
		t.Errorf("%d traces take %d MiB of %d MiB", traces, store>>20, s.MemLimit>>20)
	}
	if limit := goMemLimit(t, s); limit <= traces*perTrace {
		t.Errorf("GOMEMLIMIT is %d MiB, less than the traces take", limit>>20)
	}
}

// maxTraces returns how many traces Jaeger keeps.
func maxTraces(t *testing.T, s types.ServiceConfig) int64 {
	t.Helper()
	var config struct {
		Extensions struct {
			Storage struct {
				Backends struct {
					Memory struct {
						Memory struct {
							MaxTraces int64 `yaml:"max_traces"`
						}
					}
				}
			} `yaml:"jaeger_storage"`
		}
	}
	readYAML(t, inRepo(t, s, argument(t, s, "--config")), &config)
	return config.Extensions.Storage.Backends.Memory.Memory.MaxTraces
}

// Older trace ids in Prometheus lead nowhere, and who clicks one is told why.
func TestDocumentsSayWhichTracesAreKept(t *testing.T) {
	traces := maxTraces(t, service(t, loadCompose(t), "jaeger"))
	want := fmt.Sprintf("Jaeger keeps the latest %d,%03d", traces/1000, traces%1000)
	for _, file := range []string{"README.md", "observability/OPERATING.md", "observability/grafana/dashboards/overview.json",
		"observability/grafana/dashboards/pipeline.json", "observability/grafana/dashboards/rate-limit.json"} {
		if !strings.Contains(readRepoFile(t, file), want) {
			t.Errorf("%s lacks %q", file, want)
		}
	}
}

// Both programs in Go are told of their limit before the kernel enforces it. The
// space between is for what Go's runtime does not count.
func TestGoProgramsKnowTheirMemory(t *testing.T) {
	for _, name := range []string{"gateway", "jaeger"} {
		s := service(t, loadCompose(t), name)
		if limit := goMemLimit(t, s); limit < int64(s.MemLimit)*3/4 || limit >= int64(s.MemLimit)*9/10 {
			t.Errorf("%s: GOMEMLIMIT is %d MiB, mem_limit %d MiB", name, limit>>20, s.MemLimit>>20)
		}
	}
}

// goMemLimit returns a service's GOMEMLIMIT in bytes, or 0 if it has none.
func goMemLimit(t *testing.T, s types.ServiceConfig) int64 {
	t.Helper()
	text := s.Environment["GOMEMLIMIT"]
	if text == nil {
		return 0
	}
	mebibytes, err := strconv.ParseInt(strings.TrimSuffix(*text, "MiB"), 10, 64)
	if err != nil {
		t.Errorf("%s: GOMEMLIMIT is %q: %v", s.Name, *text, err)
	}
	return mebibytes << 20
}

// Its image declares a volume there. Whoever does not say what it is gets a new,
// unnamed one with each container.
func TestJaegerLeavesNoVolumeBehind(t *testing.T) {
	s := service(t, loadCompose(t), "jaeger")
	if !slices.Equal(s.Tmpfs, []string{"/tmp"}) {
		t.Errorf("tmpfs %q, want /tmp", s.Tmpfs)
	}
}

// Grafana reads directories of its image beside those two, and complains at each
// start if they are gone.
func TestGrafanaKeepsItsOwnProvisioning(t *testing.T) {
	const parent = "/etc/grafana/provisioning"
	var mounted []string
	for _, v := range service(t, loadCompose(t), "grafana").Volumes {
		if v.Type == types.VolumeTypeBind && strings.HasPrefix(v.Target, parent) {
			mounted = append(mounted, strings.TrimPrefix(v.Target, parent))
		}
	}
	if want := []string{"/datasources", "/dashboards"}; !slices.Equal(mounted, want) {
		t.Errorf("below %s are mounted %q, want %q", parent, mounted, want)
	}
}
