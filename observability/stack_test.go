// Package observability_test runs the whole stack: the gateway, Redis, Jaeger
// and Prometheus as processes on loopback, with the configuration files that
// are shipped, and asks Prometheus every question that a dashboard or a rule
// asks.
package observability_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/app/embedded"
)

// result is what the traffic tool reports of one kind of request.
type result struct {
	Kind     string         `json:"kind"`
	Sent     int            `json:"sent"`
	Statuses map[int]int    `json:"statuses"`
	Reasons  map[string]int `json:"reasons"`
	TraceID  string         `json:"trace_id"`
}

func TestStack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and a half")
	}
	s := startStack(t)
	results := append(s.firstRequests(t), s.traffic(t)...)
	s.checkCounts(t, results)
	s.checkTraces(t, results)
	s.checkExemplars(t)
	s.checkPanels(t)
	s.checkRules(t) // last, because some take a minute to be evaluated
}

// startBackend answers as traefik/whoami does, at once or as late as ?wait= says.
func startBackend(t *testing.T) string {
	backend := httptest.NewServer(http.HandlerFunc(embedded.Whoami))
	t.Cleanup(backend.Close)
	return backend.URL
}

// traffic runs the shipped traffic tool and returns its report. It must have
// met nothing but what it expects.
func (s *stack) traffic(t *testing.T) []result {
	t.Helper()
	tool := exec.CommandContext(t.Context(), build(t, "traffic"), "-json", "-duration", "45s", "-rate", "40",
		"-gateway", s.gateway, "-redis", s.redis, "-secret", config.DemoSecret)
	var stderr strings.Builder
	tool.Stderr = &stderr
	out, err := tool.Output()
	if err != nil {
		t.Fatalf("traffic: %v\n%s%s", err, out, stderr.String())
	}
	var results []result
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatal(err)
	}
	return results
}

// checkCounts holds that Prometheus counted what the tool sent, to the request.
func (s *stack) checkCounts(t *testing.T, results []result) {
	t.Helper()
	reasons, statuses := map[string]int{}, map[int]int{}
	for _, r := range results {
		for reason, n := range r.Reasons {
			reasons[reason] += n
		}
		for status, n := range r.Statuses {
			statuses[status] += n
		}
	}
	for reason, n := range reasons {
		s.eventually(t, fmt.Sprintf(`sum(gateway_decisions_total{gateway_reason=%q})`, reason), float64(n))
	}
	for status, n := range statuses {
		s.eventually(t, fmt.Sprintf(`sum(http_server_request_duration_seconds_count{http_response_status_code="%d"})`, status), float64(n))
	}
}

// eventually waits for the scrape that brings a query to a value.
func (s *stack) eventually(t *testing.T, query string, want float64) {
	t.Helper()
	var got []float64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if got = s.query(t, query); len(got) == 1 && got[0] == want {
			return
		}
	}
	t.Errorf("%s is %v, want %v", query, got, want)
}

// checkTraces holds that every kind's trace is in Jaeger, under the id that its
// answer carried.
func (s *stack) checkTraces(t *testing.T, results []result) {
	t.Helper()
	for _, r := range results {
		if r.TraceID == "" {
			t.Errorf("%s: no answer carried a trace id", r.Kind)
			continue
		}
		if status := s.status(t, s.jaeger+"/api/traces/"+r.TraceID); status != http.StatusOK {
			t.Errorf("%s: Jaeger answers %d for its trace", r.Kind, status)
		}
	}
}

// checkExemplars holds that Prometheus stored trace ids, and that they lead to
// Jaeger.
func (s *stack) checkExemplars(t *testing.T) {
	t.Helper()
	for _, query := range []string{
		`gateway_decisions_total{gateway_reason="rate_limited"}`, "http_server_request_duration_seconds_bucket",
	} {
		var answer struct {
			Data []struct {
				Exemplars []struct {
					Labels map[string]string `json:"labels"`
				} `json:"exemplars"`
			} `json:"data"`
		}
		span := url.Values{"query": {query}, "start": {unix(time.Now().Add(-time.Hour))}, "end": {unix(time.Now())}}
		s.get(t, s.prometheus+"/api/v1/query_exemplars?"+span.Encode(), &answer)
		found := 0
		for _, series := range answer.Data {
			for _, exemplar := range series.Exemplars {
				found++
				if status := s.status(t, s.jaeger+"/api/traces/"+exemplar.Labels["trace_id"]); status != http.StatusOK {
					t.Errorf("an exemplar of %s leads to a trace that Jaeger answers with %d", query, status)
				}
			}
		}
		if found == 0 {
			t.Errorf("Prometheus has no exemplar of %s", query)
		}
	}
}

// rule is what Prometheus says of one of its rules.
type rule struct{ Name, Type, Health, LastError string }

// checkRules holds that every rule evaluates, and that recording rules record.
func (s *stack) checkRules(t *testing.T) {
	t.Helper()
	rules := s.evaluatedRules(t)
	if len(rules) == 0 {
		t.Error("Prometheus has no rules")
	}
	for _, r := range rules {
		if r.Health != "ok" {
			t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
		}
		if r.Type == "recording" && !s.records(t, r.Name) {
			t.Errorf("rule %s records nothing", r.Name)
		}
	}
}

// evaluatedRules waits until each rule was evaluated once. Prometheus spreads
// the groups' first evaluations over their intervals, by a hash of the file's
// path and the group's name; until its turn a rule's health is "unknown".
func (s *stack) evaluatedRules(t *testing.T) []rule {
	t.Helper()
	var rules []rule
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []rule `json:"rules"`
				} `json:"groups"`
			} `json:"data"`
		}
		s.get(t, s.prometheus+"/api/v1/rules", &answer)
		rules = rules[:0]
		for _, group := range answer.Data.Groups {
			rules = append(rules, group.Rules...)
		}
		waiting := slices.ContainsFunc(rules, func(r rule) bool { return r.Health == "unknown" })
		if !waiting || time.Now().After(deadline) {
			return rules
		}
	}
}

// records reports whether a recording rule has a result. Rules over long ranges
// are evaluated once a minute.
func (s *stack) records(t *testing.T, rule string) bool {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		if len(s.query(t, rule)) > 0 {
			return true
		}
	}
	return false
}

// checkPanels asks every question of every dashboard. A panel that is rightly
// empty shows 0, so each has an answer.
func (s *stack) checkPanels(t *testing.T) {
	t.Helper()
	for _, panel := range panels(t) {
		if got := s.query(t, panel.query); len(got) == 0 {
			t.Errorf("%s: panel %q has no data: %s", panel.dashboard, panel.title, panel.query)
		}
	}
}
