package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"tyk_proxy/middleware"
)

const (
	// inFlight limits the concurrent requests.
	inFlight = 128
	// answerTimeout is longer than the gateway waits for an upstream.
	answerTimeout = 60 * time.Second
	// progressEvery is the interval of the lines on stderr.
	progressEvery = 5 * time.Second
	// maxBody is more than the size of any problem document.
	maxBody = 64 << 10
)

// result has the answers to one kind of request.
type result struct {
	Kind       string         `json:"kind"`
	Sent       int            `json:"sent"`
	Statuses   map[int]int    `json:"statuses"`
	Reasons    map[string]int `json:"reasons"`
	Unexpected int            `json:"unexpected"`      // unexpected answers
	Failed     int            `json:"failed"`          // requests without an answer
	TraceID    string         `json:"trace_id"`        // of an expected answer, preferably of the rarer reason
	Error      string         `json:"error,omitempty"` // of the first request without an answer
	traceOf    middleware.Reason
}

// tally collects the results. It is safe for concurrent use.
type tally struct {
	mu      sync.Mutex
	results []*result
	began   time.Time
	took    time.Duration
	window  time.Duration // of the rate limit, from an answer
	cut     int           // requests that the interrupt aborted
}

func newTally(kinds []kind) *tally {
	t := &tally{began: time.Now()}
	for _, k := range kinds {
		t.results = append(t.results, &result{Kind: k.name, Statuses: map[int]int{}, Reasons: map[string]int{}})
	}
	return t
}

// send sends requests at the rate for the duration and waits for the last
// answers. The first request is sent alone, because its answer shows whether
// the gateway accepts the tokens.
func send(ctx context.Context, s settings, kinds []kind, progress io.Writer) (*tally, error) {
	t := newTally(kinds)
	client := &http.Client{
		Timeout:   answerTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: inFlight, DisableCompression: true},
	}
	defer client.CloseIdleConnections()
	next := schedule(kinds)
	first := next()
	t.one(ctx, client, s.gateway, kinds[first], first)
	if err := t.mismatch(s); err != nil {
		return nil, err
	}
	// At inFlight requests the loop waits, and the rate is lower than configured.
	places := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(s.rate))
	defer tick.Stop()
	said := time.Now()
	for range int(s.duration.Seconds()*float64(s.rate)) - 1 {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(said) >= progressEvery {
			said = time.Now()
			t.progress(progress, s)
		}
		i := next()
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			t.one(ctx, client, s.gateway, kinds[i], i)
		})
	}
	wg.Wait()
	t.took = time.Since(t.began)
	if ctx.Err() != nil {
		fmt.Fprintf(progress, "interrupted after %.0f s: %d requests were aborted and are not counted\n", t.took.Seconds(), t.cut)
	}
	return t, nil
}

// schedule returns each kind once, so that a short run has all kinds, and then
// by weight, evenly mixed (smooth weighted round robin: each turn adds to each
// kind its weight, and the maximum pays the sum).
func schedule(kinds []kind) func() int {
	credit, dealt := make([]int, len(kinds)), make([]int, len(kinds))
	once := 0
	return func() int {
		if once < len(kinds) {
			dealt[once]++
			once++
			return once - 1
		}
		best, sum := 0, 0
		for i, k := range kinds {
			if k.most > 0 && dealt[i] >= k.most {
				credit[i] = -1 << 30
				continue
			}
			credit[i] += k.weight
			sum += k.weight
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= sum
		dealt[best]++
		return best
	}
}

// one sends one request and counts its answer.
func (t *tally) one(ctx context.Context, client *http.Client, base string, k kind, i int) {
	status, header, reason, err := ask(ctx, client, base, k)
	t.add(i, func(res *result) {
		if err != nil && ctx.Err() != nil {
			t.cut++ // the user interrupted it
			return
		}
		res.Sent++
		if err != nil {
			res.Failed++
			if res.Error == "" {
				res.Error = err.Error()
			}
			return
		}
		if window := windowOf(header); window > 0 {
			t.window = window
		}
		res.Statuses[status]++
		res.Reasons[reason.String()]++
		place := slices.Index(k.expect, reason)
		if place < 0 || statusOf(reason) != status {
			res.Unexpected++
			return
		}
		if res.TraceID == "" || place < slices.Index(k.expect, res.traceOf) {
			res.TraceID, res.traceOf = header.Get("X-Trace-Id"), reason
		}
	})
}

// ask sends one request and reads the whole answer. Its error can contain the
// URL, but no header and no token.
func ask(ctx context.Context, client *http.Client, base string, k kind) (int, http.Header, middleware.Reason, error) {
	r, err := k.make(ctx, base)
	if err != nil {
		return 0, nil, middleware.ReasonNone, err
	}
	response, err := client.Do(r)
	if err != nil {
		return 0, nil, middleware.ReasonNone, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body) // to reuse the connection
	}
	if err != nil {
		return 0, nil, middleware.ReasonNone, fmt.Errorf("reading the answer of %s: %w", base, err)
	}
	return response.StatusCode, response.Header, reasonOf(response.Header, body), nil
}

// add changes the result of kind i while it holds the lock.
func (t *tally) add(i int, change func(*result)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(t.results[i])
}

// reasonOf returns the reason of a problem document. Any other answer was
// forwarded.
func reasonOf(h http.Header, body []byte) middleware.Reason {
	if h.Get("Content-Type") != "application/problem+json" {
		return middleware.Forwarded
	}
	var problem middleware.Problem
	if json.Unmarshal(body, &problem) != nil {
		return middleware.ReasonNone
	}
	for _, reason := range middleware.Reasons() {
		if reason.String() == problem.Reason {
			return reason
		}
	}
	return middleware.ReasonNone
}

// statusOf returns the status of a reason in the table of reasons. A forwarded
// request has the status of the backend, which always answers 200.
func statusOf(reason middleware.Reason) int {
	if status := reason.Info().Status; status != 0 {
		return status
	}
	return http.StatusOK
}

// progress prints the counts so far.
func (t *tally) progress(w io.Writer, s settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent, unexpected := 0, 0
	for _, r := range t.results {
		sent += r.Sent
		unexpected += r.Unexpected + r.Failed
	}
	fmt.Fprintf(w, "%3.0f s of %.0f s: %d answers, %d not as expected\n",
		time.Since(t.began).Seconds(), s.duration.Seconds(), sent, unexpected)
}
