package e2e_test

import (
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// load is the result of hammer.
type load struct {
	statuses map[int]int
	slowest  time.Duration
}

// hammer sends n requests for /api/v1/test from several clients, each over one
// connection.
func (p *program) hammer(jwt string, n int) load {
	p.tb.Helper()
	const clients = 4
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: askTimeout}
	var mu sync.Mutex
	total := load{statuses: make(map[int]int)}
	ask := func() {
		begun := time.Now()
		status, err := askOn(client, p.base+"/api/v1/test", jwt)
		took := time.Since(begun)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			p.tb.Error(err)
		}
		total.statuses[status]++
		total.slowest = max(total.slowest, took)
	}
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for range (n + i) / clients {
				ask()
			}
		})
	}
	running.Wait()
	return total
}

func askOn(client *http.Client, url, jwt string) (status int, err error) {
	request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	if jwt != "" {
		request.Header.Set("Authorization", "Bearer "+jwt)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// raced reports whether the race detector is on, which makes everything about
// ten times slower.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// scrape returns the metrics in the OpenMetrics format, which has exemplars.
func (p *program) scrape() string {
	p.tb.Helper()
	request, err := http.NewRequest(http.MethodGet, p.metrics+"/metrics", http.NoBody)
	if err != nil {
		p.tb.Fatal(err)
	}
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.tb.Fatalf("/metrics: %d, %v", response.StatusCode, err)
	}
	return string(text)
}

// fates returns gateway_telemetry_traces_total or
// gateway_telemetry_spans_total by fate.
func (p *program) fates(of string) map[string]int {
	p.tb.Helper()
	line := regexp.MustCompile(`(?m)^gateway_telemetry_` + of + `_total\{gateway_telemetry_fate="(\w+)"\} (\S+)`)
	found := make(map[string]int)
	for _, match := range line.FindAllStringSubmatch(p.scrape(), -1) {
		value, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			p.tb.Fatal(err)
		}
		found[match[1]] = int(value)
	}
	return found
}

// awaitFates waits until that many traces are counted. A request is counted
// after its answer.
func awaitFates(tb testing.TB, p *program, traces int) map[string]int {
	tb.Helper()
	var found map[string]int
	eventually(tb, startWithin, "all requests are counted", func() bool {
		found = p.fates("traces")
		sum := 0
		for _, n := range found {
			sum += n
		}
		return sum >= traces
	})
	return found
}
