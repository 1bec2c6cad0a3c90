// Package jaegertest starts a real Jaeger for tests, with the configuration
// that the project ships.
package jaegertest

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tyk_proxy/middleware/storetest"
)

const (
	startWithin = 30 * time.Second // on a slow machine
	attempts    = 5                // a free port may be taken before Jaeger binds it
)

// Server is a Jaeger process, which keeps its traces in memory.
type Server struct {
	OTLP    string // host:port of OTLP over gRPC
	Query   string // URL of the query API and the UI
	Metrics string // host:port of its own /metrics
}

// Start starts Jaeger on free loopback ports and stops it after the test. root
// is the path of the repository. Without Jaeger (see make jaeger) the test is
// skipped, or fails if TYK_PROXY_REQUIRE_SERVERS is 1.
func Start(tb testing.TB, root string) *Server {
	tb.Helper()
	binary := find(tb, root)
	if binary == "" {
		storetest.Missing(tb, "there is no Jaeger: run make jaeger")
	}
	var said string
	for range attempts {
		s := &Server{OTLP: storetest.FreeAddr(tb), Query: "http://" + storetest.FreeAddr(tb), Metrics: storetest.FreeAddr(tb)}
		output, ok := s.run(tb, binary, filepath.Join(root, "observability/jaeger/config.yaml"))
		if ok {
			return s
		}
		said = output
	}
	tb.Fatalf("Jaeger did not start in %d attempts; it said:\n%s", attempts, said)
	return nil
}

// find returns the path of the binary that `make jaeger` built, in the version
// of tools/jaeger/go.mod, or "".
func find(tb testing.TB, root string) string {
	tb.Helper()
	mod, err := os.ReadFile(filepath.Join(root, "tools/jaeger/go.mod"))
	if err != nil {
		tb.Fatal(err)
	}
	pinned := regexp.MustCompile(`github\.com/jaegertracing/jaeger (v\S+)`).FindSubmatch(mod)
	if pinned == nil {
		tb.Fatal("tools/jaeger/go.mod pins no Jaeger")
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	path, err := exec.LookPath(filepath.Join(cache, "tyk_proxy", "jaeger2-"+string(pinned[1])))
	if err != nil {
		return ""
	}
	return path
}

// run reports whether Jaeger answers. If it does not, run ends the process and
// returns its output.
func (s *Server) run(tb testing.TB, binary, config string) (said string, ok bool) {
	tb.Helper()
	const unused = "127.0.0.1:0" // for listeners that the tests do not use
	health := storetest.FreeAddr(tb)
	_, metricsPort, _ := strings.Cut(s.Metrics, ":")
	cmd := exec.Command(binary, "--config", config, //nolint:gosec,noctx // our own build; ended by stop
		"--set=receivers.otlp.protocols.grpc.endpoint="+s.OTLP,
		"--set=receivers.otlp.protocols.http.endpoint="+unused,
		"--set=extensions.jaeger_query.http.endpoint="+strings.TrimPrefix(s.Query, "http://"),
		"--set=extensions.jaeger_query.grpc.endpoint="+unused,
		"--set=extensions.healthcheckv2.http.endpoint="+health,
		"--set=service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: "+metricsPort+"}}}}]")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	ended, err := storetest.StartProcess(cmd)
	if err != nil {
		tb.Fatal(err)
	}
	stop := func() { _ = cmd.Process.Kill(); <-ended } // Kill fails if it has ended
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			return output.String(), false
		default:
		}
		if answers("http://"+health+"/status") && answers(s.Query+"/api/services") {
			tb.Cleanup(stop)
			return "", true
		}
	}
	stop()
	return output.String(), false
}

// answers reports whether a GET of the address returns 200.
func answers(address string) bool {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
