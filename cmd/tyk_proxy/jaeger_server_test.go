package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"
)

const (
	jaegerWithin   = 20 * time.Second // for it to start
	jaegerAttempts = 5                // a free port may be taken before Jaeger binds it
	tracesWithin   = 20 * time.Second // from a request to its trace in Jaeger
)

// jaeger is a Jaeger all-in-one process of one test, which keeps its traces in
// memory.
type jaeger struct {
	tb    testing.TB
	otlp  string // host:port of OTLP over gRPC
	query string // the query API's URL
}

// startJaeger starts Jaeger on free loopback ports and ends it with the test.
// The test is skipped where there is none (see `make jaeger`), or fails if
// TYK_PROXY_REQUIRE_SERVERS is 1.
func startJaeger(tb testing.TB) *jaeger {
	tb.Helper()
	binary := jaegerBinary(tb)
	if binary == "" && os.Getenv("TYK_PROXY_REQUIRE_SERVERS") == "1" {
		tb.Fatal("TYK_PROXY_REQUIRE_SERVERS is 1 and there is no Jaeger: run make jaeger")
	} else if binary == "" {
		tb.Skip("there is no Jaeger: run make jaeger")
	}
	for range jaegerAttempts {
		j := &jaeger{tb: tb, otlp: freeAddr(tb)}
		query := freeAddr(tb)
		j.query = "http://" + query
		if j.run(binary, query) {
			return j
		}
	}
	tb.Fatalf("Jaeger did not start in %d attempts", jaegerAttempts)
	return nil
}

// jaegerBinary returns the file that `make jaeger` built, in the version that
// its module pins, else jaeger-all-in-one from PATH, else "".
func jaegerBinary(tb testing.TB) string {
	tb.Helper()
	mod, err := os.ReadFile("../../tools/jaeger/go.mod")
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
	for _, name := range []string{filepath.Join(cache, "tyk_proxy", "jaeger-"+string(pinned[1])), "jaeger-all-in-one"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// run reports whether Jaeger answers. Where it does not, its process has ended.
func (j *jaeger) run(binary, query string) bool {
	j.tb.Helper()
	const unused = "127.0.0.1:0" // of a port that nobody asks, any will do
	cmd := exec.Command(binary,
		"--collector.otlp.grpc.host-port="+j.otlp, "--query.http-server.host-port="+query,
		"--collector.otlp.http.host-port="+unused, "--query.grpc-server.host-port="+unused,
		"--collector.grpc-server.host-port="+unused, "--collector.http-server.host-port="+unused,
		"--admin.http.host-port="+unused, "--log-level=warn")
	// It would look for a collector of its own traces on a default port.
	cmd.Env = append(os.Environ(), "SPAN_STORAGE_TYPE=memory", "OTEL_TRACES_SAMPLER=always_off")
	cmd.SysProcAttr = withParent()
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// A parent is a thread to the kernel: this one lives as long as its child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, which Wait reports as an error
		}
	}()
	if err := <-started; err != nil {
		j.tb.Fatal(err)
	}
	stop := func() { _ = cmd.Process.Kill(); <-ended } // it may have ended already
	for deadline := time.Now().Add(jaegerWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			return false
		default:
		}
		got, err := tryURL(http.MethodGet, j.query+"/api/services", "")
		if err != nil || got.status != http.StatusOK {
			continue
		}
		if conn, err := net.Dial("tcp", j.otlp); err == nil {
			conn.Close()
			j.tb.Cleanup(stop)
			return true
		}
	}
	stop()
	return false
}

// jaegerTrace is what the tests read of a trace in the query API's JSON.
type jaegerTrace struct {
	ID        string       `json:"traceID"`
	Spans     []jaegerSpan `json:"spans"`
	Processes map[string]struct {
		Service string     `json:"serviceName"`
		Tags    jaegerTags `json:"tags"`
	} `json:"processes"`
}

type jaegerSpan struct {
	ID         string `json:"spanID"`
	Name       string `json:"operationName"`
	References []struct {
		Kind string `json:"refType"`
		ID   string `json:"spanID"`
	} `json:"references"`
	Start    int64      `json:"startTime"` // microseconds
	Duration int64      `json:"duration"`
	Tags     jaegerTags `json:"tags"`
	Logs     []struct {
		Fields jaegerTags `json:"fields"`
	} `json:"logs"`
}

// jaegerTags are a list in JSON; no key occurs twice.
type jaegerTags map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (t *jaegerTags) UnmarshalJSON(text []byte) error {
	var list []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*t = make(jaegerTags, len(list))
	for _, tag := range list {
		if _, ok := (*t)[tag.Key]; ok {
			return fmt.Errorf("tag %s occurs twice", tag.Key)
		}
		(*t)[tag.Key] = fmt.Sprint(tag.Value)
	}
	return nil
}

// traces asks the query API; what it does not know is no trace.
func (j *jaeger) traces(path string) []jaegerTrace {
	j.tb.Helper()
	got := askURL(j.tb, http.MethodGet, j.query+path, "")
	if got.status == http.StatusNotFound {
		return nil
	}
	var found struct {
		Data []jaegerTrace `json:"data"`
	}
	if err := json.Unmarshal([]byte(got.body), &found); err != nil || got.status != http.StatusOK {
		j.tb.Fatalf("Jaeger answered %s with %d, %v: %s", path, got.status, err, got.body)
	}
	return found.Data
}

// ofService returns all traces of a service and how many spans they have.
func (j *jaeger) ofService(service string) (traces []jaegerTrace, spans int) {
	j.tb.Helper()
	traces = j.traces("/api/traces?" + url.Values{"service": {service}, "limit": {strconv.Itoa(1e6)}}.Encode())
	for _, trace := range traces {
		spans += len(trace.Spans)
	}
	return traces, spans
}

// await returns a trace as soon as it has so many spans: they arrive one by one.
func (j *jaeger) await(id string, spans int) jaegerTrace {
	j.tb.Helper()
	have := 0
	for deadline := time.Now().Add(tracesWithin); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, trace := range j.traces("/api/traces/" + id) {
			if have = len(trace.Spans); have >= spans {
				return trace
			}
		}
	}
	j.tb.Fatalf("after %s Jaeger has %d spans of trace %q, want %d", tracesWithin, have, id, spans)
	return jaegerTrace{}
}

// parent returns the id of a span's parent, or "".
func (s jaegerSpan) parent() string {
	for _, reference := range s.References {
		if reference.Kind == "CHILD_OF" {
			return reference.ID
		}
	}
	return ""
}

// root returns the span without a parent.
func (t jaegerTrace) root(tb testing.TB) jaegerSpan {
	tb.Helper()
	for _, span := range t.Spans {
		if span.parent() == "" {
			return span
		}
	}
	tb.Fatalf("trace %s has no root", t.ID)
	return jaegerSpan{}
}
