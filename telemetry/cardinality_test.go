package telemetry

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// The budget of the gateway's metrics, in label sets. It does not depend on
// the number of clients, keys, paths or hosts.
const (
	methods    = 10 // nine known, and _OTHER
	forwarded  = 7  // methods that reach a backend
	refusals   = 12 // statuses of the gateway's own: 400 401 403 405 408 429 499 500 502 503 504 508
	answers    = 9  // statuses of the backend's that this test knows; a real one has some twenty
	goErrors   = 10 // error.type of a request that got no answer
	verdicts   = 4
	operations = 5 // of Redis: four commands, and _OTHER
	redisEnds  = 5 // how they end
)

// maxSeries is the sum of all budgets times the series of each label set:
// 27,000 for requests by route, 3,000 for requests to the backend, and 1,000
// for everything else.
const maxSeries = 31_000

// labelSets returns each metric's budget.
func labelSets() map[string]int {
	stages := len(middleware.StageNames())
	return map[string]int{
		names.MetricStageDuration: stages * verdicts,
		// A panic and an overload can be any stage's, an expired token that of two.
		names.MetricDecisions:   len(middleware.Reasons()) - 2 + 2*stages + 1,
		names.MetricDegraded:    stages,
		names.MetricUtilization: 1,
		names.MetricRetryAfter:  1,
		names.MetricClockOffset: 1,
		names.MetricTraces:      4,
		names.MetricSpans:       3,
		names.MetricLogDropped:  1,
		// Requests with a route, without one, and with a route beyond the
		// limit.
		names.MetricServerDuration: maxRouteSeries + methods*refusals + forwarded*(answers+refusals),
		names.MetricServerActive:   methods * 2,
		names.MetricClientDuration: forwarded * (answers + goErrors),
		names.MetricDBDuration:     operations * redisEnds,
		names.MetricRedisQueued:    1,
		names.MetricRedisWaiting:   1,
		names.MetricRedisCommands:  1,
		names.MetricRedisBatches:   1,
		names.MetricRedisRefused:   1,
		names.MetricRedisSilent:    1,
		names.MetricRedisChanges:   1,
		names.MetricCacheHits:      1,
		names.MetricCacheMisses:    1,
		names.MetricCacheEntries:   1,
	}
}

func TestSeriesBudget(t *testing.T) {
	sum := 0
	for _, m := range names.Catalogue() {
		sets, ok := labelSets()[m.Name]
		if !ok {
			t.Errorf("%s has no budget", m.Name)
		}
		if sets > 2000 {
			t.Errorf("%s may have %d sets of labels, more than the limit of the SDK, 2000", m.Name, sets)
		}
		sum += sets * seriesEach(m)
	}
	if sum > maxSeries {
		t.Errorf("the budgets add up to %d series, more than %d", sum, maxSeries)
	}
}

// The number of series stays within the budget for any requests, and the
// values of each label are limited.
func TestCardinality(t *testing.T) {
	const requests, workers = 50_000, 4
	g := newGateway(t, TracesConfig{SampleRatio: 0.01, KeepPerSecond: 50}, discard{})
	g.keep = false
	g.recorder.lines.log.SetLevel(0)
	if err := g.providers.ClockOffset(func() time.Duration { return 0 }); err != nil {
		t.Fatal(err)
	}
	shared := make([]string, 3*maxRoutes)
	for n := range shared {
		shared[n] = g.token(t, fmt.Sprint("key-", n), 1_000_000, fmt.Sprint("/route/", n))
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range requests / workers {
				g.handler.ServeHTTP(httptest.NewRecorder(), randomRequest(t, g, shared))
			}
		})
	}
	wg.Wait()
	all := seriesOf(t, g.scrape(t, "text/plain"))
	sets, total := map[string]map[string]bool{}, 0
	for _, s := range all {
		m, ok := ownerOf(s.name)
		if !ok {
			continue
		}
		total++
		checkLabels(t, m, s)
		delete(s.labels, "le")
		if sets[m.Name] == nil {
			sets[m.Name] = map[string]bool{}
		}
		sets[m.Name][fmt.Sprint(s.labels)] = true
	}
	for name, found := range sets {
		t.Logf("%s: %d of %d sets of labels", name, len(found), labelSets()[name])
		if len(found) > labelSets()[name] {
			t.Errorf("%s has %d sets of labels, more than its budget of %d", name, len(found), labelSets()[name])
		}
	}
	if total > maxSeries || len(sets[names.MetricServerDuration]) <= maxRouteSeries {
		t.Errorf("%d series, budget %d; %d sets of labels of requests, want the bound of %d reached", total, maxSeries,
			len(sets[names.MetricServerDuration]), maxRouteSeries)
	}
	routes := map[string]bool{}
	for _, s := range all {
		if route := s.labels["http_route"]; route != "" && route != names.Other {
			routes[route] = true
		}
	}
	if len(routes) != maxRoutes {
		t.Errorf("%d routes are labels, want the first %d", len(routes), maxRoutes)
	}
}

// randomRequest returns a request with random text in every part that a client
// chooses. Its record is its own or shared.
func randomRequest(t *testing.T, g *gateway, shared []string) *http.Request {
	n := rand.IntN(len(shared))
	path, authorization := fmt.Sprint("/route/", n), shared[n]
	switch rand.IntN(10) {
	case 0:
		path = "/" + text() // no route
		authorization = bearer(t, text())
	case 1:
		authorization = text()
	case 2:
		authorization = g.token(t, text(), 0, path)
	}
	r := request(t, pick(untrustedPeer, trustedPeer), path+"?"+text()+"="+text(), authorization,
		"X-Answer", pick("200", "201", "204", "301", "404", "409", "418", "500", "503", "refuse", "hang", "garbage"),
		"User-Agent", text(), "X-"+text(), text(), "X-Forwarded-For", text(), "X-Forwarded-Host", text(),
		"X-Forwarded-Proto", text(), "Forwarded", "for="+text(), "Traceparent", text(), "Baggage", "k="+text(),
		"Content-Type", text(), "Cookie", text())
	r.Host = text() + ".example"
	r.Method = pick("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", text())
	r.Proto = pick("HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/"+text())
	return r
}

func text() string { return strconv.FormatUint(rand.Uint64(), 36) }

func pick(values ...string) string { return values[rand.IntN(len(values))] }

var goType = regexp.MustCompile(`^\*?[\w/.]+\.\w+$`)

// checkLabels checks that a series has only the labels of the catalogue, and
// no value that a client could choose.
func checkLabels(t *testing.T, m names.Metric, s series) {
	t.Helper()
	for name, value := range s.labels {
		if name == "le" && m.Kind == names.KindHistogram {
			continue
		}
		known := false
		for _, key := range m.Labels {
			known = known || names.LabelName(key) == name
		}
		if !known {
			t.Errorf("%s has a label %s that is not in the catalogue", s.name, name)
		}
		if !inClosedSet(name, value) {
			t.Errorf("%s has %s %q", s.name, name, value)
		}
	}
	if len(s.labels) == 0 && len(m.Labels) > 0 {
		t.Errorf("%s has no labels", s.name)
	}
}

func inClosedSet(name, value string) bool {
	status, err := strconv.Atoi(value)
	isStatus := err == nil && status >= 100 && status < 600
	switch name {
	case "gateway_stage":
		return slices.Contains(middleware.StageNames(), value)
	case "gateway_verdict":
		return slices.Contains([]string{"allow", "deny", "fail", "bypass"}, value)
	case "gateway_reason":
		return slices.ContainsFunc(middleware.Reasons(), func(r middleware.Reason) bool { return r.String() == value })
	case "gateway_telemetry_fate":
		return slices.Contains([]string{
			names.FateSampled, names.FateKept, names.FateOverCap, names.FateNotSampled,
			names.FateExported, names.FateFailed, names.FateDropped,
		}, value)
	case "http_request_method":
		return value == names.Other || methodLabel(value) == value
	case "http_response_status_code":
		return isStatus
	case "url_scheme":
		return value == "http" || value == "https"
	case "error_type":
		return isStatus || goType.MatchString(value)
	case "http_route":
		return value == names.Other || strings.HasPrefix(value, "/route/")
	}
	return false
}
