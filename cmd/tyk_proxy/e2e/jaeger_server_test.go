package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"tyk_proxy/observability/jaegertest"
)

// tracesWithin is the longest time from a request until its trace is in
// Jaeger.
const tracesWithin = 20 * time.Second

// searchDepth is more than the traces of any test and less than Jaeger's
// max_traces.
const searchDepth = 29_000

// jaeger is the Jaeger process of a test.
type jaeger struct {
	tb    testing.TB
	otlp  string // host:port of OTLP over gRPC
	query string // the query API's URL
}

func startJaeger(tb testing.TB) *jaeger {
	tb.Helper()
	server := jaegertest.Start(tb, "../../..")
	return &jaeger{tb: tb, otlp: server.OTLP, query: server.Query}
}

// jaegerTrace has the fields of the query API's JSON that the tests use.
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

// jaegerTags is a list in JSON. No key occurs twice.
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

// traces queries Jaeger. An unknown trace is not an error.
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

// ofService returns all traces of a service and the number of their spans.
func (j *jaeger) ofService(service string) (traces []jaegerTrace, spans int) {
	j.tb.Helper()
	traces = j.traces("/api/traces?" + url.Values{"service": {service}, "limit": {strconv.Itoa(searchDepth)}}.Encode())
	for _, trace := range traces {
		spans += len(trace.Spans)
	}
	return traces, spans
}

// await waits until a trace has the number of spans, which arrive separately.
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
