package observability_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/middleware/storetest"
	"tyk_proxy/observability/jaegertest"
)

// stack is where the running processes are.
type stack struct{ gateway, metrics, redis, jaeger, prometheus string }

// startStack starts the processes with the shipped configuration, in which only
// addresses are replaced.
func startStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{redis: storetest.StartRedis(t).Addr}
	jaeger := jaegertest.Start(t, "..")
	s.jaeger = jaeger.Query
	gateway, metrics := storetest.FreeAddr(t), storetest.FreeAddr(t)
	s.gateway, s.metrics = "http://"+gateway, "http://"+metrics
	run(t, build(t, "tyk_proxy"), []string{"-config", "../config.json", "-env"}, []string{
		"TYK_PROX_APPLICATION__TARGET_HOST=" + startBackend(t),
		"TYK_PROX_APPLICATION__PORT=" + port(gateway),
		"TYK_PROX_REDIS__ADDR=" + s.redis,
		"TYK_PROX_MONITORING__IP=127.0.0.1",
		"TYK_PROX_MONITORING__PORT=" + port(metrics),
		"TYK_PROX_TELEMETRY__TRACES__ENDPOINT=grpc://" + jaeger.OTLP,
		// Five processes share a small machine: an outage is not what is tested.
		"TYK_PROX_REDIS__TIMEOUT=3s",
	})
	own := storetest.FreeAddr(t)
	s.prometheus = "http://" + own
	run(t, storetest.Installed(t, "prometheus"), []string{
		"--config.file=" + prometheusConfig(t, map[string]string{
			"gateway:9090": metrics, "jaeger:8888": jaeger.Metrics, "localhost:9090": own,
		}),
		"--storage.tsdb.path=" + t.TempDir(),
		"--web.listen-address=" + own,
		"--enable-feature=exemplar-storage",
	}, nil)
	s.await(t, s.gateway+"/ready")
	s.await(t, s.prometheus+"/-/ready")
	return s
}

// prometheusConfig copies the shipped configuration with other addresses.
func prometheusConfig(t *testing.T, addresses map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("prometheus")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "prometheus.yml")
	text := string(read(t, path))
	for shipped, here := range addresses {
		if !strings.Contains(text, shipped) {
			t.Fatalf("prometheus.yml does not scrape %s", shipped)
		}
		text = strings.ReplaceAll(text, shipped, here)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a process that ends with the test; what it said is shown if the
// test failed.
func run(t *testing.T, path string, args, env []string) {
	t.Helper()
	var output bytes.Buffer
	process := exec.Command(path, args...)
	process.Stdout, process.Stderr = &output, &output
	process.Env = append(os.Environ(), env...)
	ended, err := storetest.StartProcess(process)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGINT)
		<-ended
		if t.Failed() {
			tail := output.Bytes()[max(0, output.Len()-2000):]
			t.Logf("%s said at the end:\n%s", filepath.Base(path), tail)
		}
	})
}

// build compiles one of the project's commands.
func build(t *testing.T, command string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), command)
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/"+command).CombinedOutput()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", command, err, out)
	}
	return binary
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// await waits until a process says that it is ready.
func (s *stack) await(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if s.status(t, address) == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s is not ready after a minute", address)
}

// status returns the status of an answer, 0 for none.
func (s *stack) status(t *testing.T, address string) int {
	t.Helper()
	status, err := s.fetch(t, address, nil)
	if err != nil {
		return 0
	}
	return status
}

func (s *stack) get(t *testing.T, address string, into any) {
	t.Helper()
	if status, err := s.fetch(t, address, into); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d, %v", address, status, err)
	}
}

func (*stack) fetch(t *testing.T, address string, into any) (int, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if into == nil {
		return response.StatusCode, nil
	}
	return response.StatusCode, json.NewDecoder(response.Body).Decode(into)
}

// query asks Prometheus for the values of an expression now.
func (s *stack) query(t *testing.T, expression string) []float64 {
	t.Helper()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if _, err := s.fetch(t, s.prometheus+"/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != "" {
		t.Errorf("%s: %s", expression, answer.Error)
		return nil
	}
	values, err := values(answer.Data.ResultType, answer.Data.Result)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
	}
	return values
}

func values(kind string, result json.RawMessage) ([]float64, error) {
	type point [2]any
	var points []point
	switch kind {
	case "scalar":
		points = make([]point, 1)
		if err := json.Unmarshal(result, &points[0]); err != nil {
			return nil, err
		}
	case "vector":
		var series []struct {
			Value point `json:"value"`
		}
		if err := json.Unmarshal(result, &series); err != nil {
			return nil, err
		}
		for _, one := range series {
			points = append(points, one.Value)
		}
	default:
		return nil, errors.New("the result is a " + kind)
	}
	numbers := make([]float64, 0, len(points))
	for _, p := range points {
		text, _ := p[1].(string)
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}
