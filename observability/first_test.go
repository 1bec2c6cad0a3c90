package observability_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/app/mint"
	"tyk_proxy/middleware/redisstore"
)

// firstRequests does what the README begins with: a token is used some times
// within seconds, at a gateway that nobody has asked before. All of it falls
// between two scrapes, so a series that is born with it has no rate. It returns
// what it sent, for the counts.
func (s *stack) firstRequests(t *testing.T) []result {
	t.Helper()
	client := mint.NewClient(s.redis, 3*time.Second)
	defer client.Close()
	minted, err := mint.New(t.Context(), client, mint.Request{
		Prefix: redisstore.RecordPrefix, Secret: config.DemoSecret, Limit: 1, Routes: []string{"/api/v1/test"},
		TTL: time.Hour, Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.afterScrape(t)
	sent := result{Kind: "the first requests", Statuses: map[int]int{}, Reasons: map[string]int{}}
	for range 15 {
		status, trace := s.ask(t, minted.JWT)
		sent.Sent++
		sent.Statuses[status]++
		if status == http.StatusTooManyRequests && sent.TraceID == "" {
			sent.TraceID = trace // of many refusals in one second, some traces are not kept
		}
		sent.Reasons[map[int]string{http.StatusOK: "forwarded", http.StatusTooManyRequests: "rate_limited"}[status]]++
	}
	if sent.Statuses[http.StatusTooManyRequests] == 0 || sent.Reasons[""] > 0 {
		t.Fatalf("the first requests were answered %v", sent.Statuses)
	}
	s.afterScrape(t)
	s.checkTheyShow(t)
	return []result{sent}
}

// checkTheyShow holds that the dashboard on which one looks for them has them.
func (s *stack) checkTheyShow(t *testing.T) {
	t.Helper()
	want := []string{
		"Requests", "Over the limit", "429 per second", "429 share", "Rejected", "Rejections of the limiter",
		"Median Retry-After", "Utilisation of limits", "Retry-After given", "Limiter p95", "rate_limit",
	}
	found := map[string]bool{}
	for _, p := range panels(t) {
		if !slices.Contains(want, p.title) {
			continue
		}
		found[p.title] = true
		if !s.shows(t, p.query) {
			t.Errorf("%s: panel %q shows nothing of the first requests: %s", p.dashboard, p.title, p.query)
		}
	}
	if len(found) != len(want) {
		t.Errorf("of the panels %q there are only %v", want, found)
	}
}

// shows reports whether a query has a value above 0, now or a scrape or two
// later on a busy machine. What is born with its value would still have no rate
// then.
func (s *stack) shows(t *testing.T, query string) bool {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		if slices.ContainsFunc(s.query(t, query), func(value float64) bool { return value > 0 }) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// afterScrape waits until the gateway was just scraped.
func (s *stack) afterScrape(t *testing.T) {
	t.Helper()
	const last = `timestamp(up{job="tyk_proxy"}) and up{job="tyk_proxy"} == 1`
	before := s.query(t, last)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if now := s.query(t, last); len(now) == 1 && !slices.Equal(now, before) {
			return
		}
	}
	t.Fatal("Prometheus did not scrape the gateway for half a minute")
}

// ask sends one request with a token.
func (s *stack) ask(t *testing.T, token string) (status int, trace string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.gateway+"/api/v1/test", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode, response.Header.Get("X-Trace-Id")
}
