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
	// inFlight bounds the requests that are under way; slow ones hold a place.
	inFlight = 128
	// answerTimeout is longer than the gateway takes to give up on an upstream.
	answerTimeout = 60 * time.Second
	progressEvery = 5 * time.Second
)

// result is what one kind of request met with.
type result struct {
	Kind       string         `json:"kind"`
	Sent       int            `json:"sent"`
	Statuses   map[int]int    `json:"statuses"`
	Reasons    map[string]int `json:"reasons"`
	Unexpected int            `json:"unexpected"` // answers that the kind does not expect
	Failed     int            `json:"failed"`     // requests without an answer
	TraceID    string         `json:"trace_id"`   // of one that was as expected, the rarer reason first
	traceOf    middleware.Reason
}

// tally gathers results from the requests' goroutines.
type tally struct {
	mu      sync.Mutex
	results []*result
	began   time.Time
	took    time.Duration
}

// send keeps to the rate for the duration and waits for the last answers.
func send(ctx context.Context, s settings, kinds []kind, progress io.Writer) *tally {
	t := &tally{began: time.Now()}
	for _, k := range kinds {
		t.results = append(t.results, &result{Kind: k.name, Statuses: map[int]int{}, Reasons: map[string]int{}})
	}
	client := &http.Client{
		Timeout:   answerTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: inFlight, DisableCompression: true},
	}
	defer client.CloseIdleConnections()
	places := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	next := schedule(kinds)
	tick := time.NewTicker(time.Second / time.Duration(s.rate))
	defer tick.Stop()
	said := time.Now()
	for range int(s.duration.Seconds() * float64(s.rate)) {
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
	return t
}

// schedule deals the kinds out by weight, evenly mixed: each turn, everybody
// gains its weight and the richest pays the sum (smooth weighted round robin).
func schedule(kinds []kind) func() int {
	credit, dealt := make([]int, len(kinds)), make([]int, len(kinds))
	return func() int {
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

func (t *tally) one(ctx context.Context, client *http.Client, base string, k kind, i int) {
	r, err := k.make(ctx, base)
	if err != nil {
		t.add(i, func(res *result) { res.Sent++; res.Failed++ })
		return
	}
	response, err := client.Do(r)
	if err != nil {
		t.add(i, func(res *result) { res.Sent++; res.Failed++ })
		return
	}
	defer response.Body.Close()
	reason := reasonOf(response)
	_, _ = io.Copy(io.Discard, response.Body) // so that the connection can be used again
	t.add(i, func(res *result) {
		res.Sent++
		res.Statuses[response.StatusCode]++
		res.Reasons[reason.String()]++
		place := slices.Index(k.expect, reason)
		if place < 0 || statusOf(reason) != response.StatusCode {
			res.Unexpected++
			return
		}
		if res.TraceID == "" || place < slices.Index(k.expect, res.traceOf) {
			res.TraceID, res.traceOf = response.Header.Get("X-Trace-Id"), reason
		}
	})
}

func (t *tally) add(i int, change func(*result)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(t.results[i])
}

// reasonOf reads the refusal; an answer that is none was forwarded.
func reasonOf(response *http.Response) middleware.Reason {
	if response.Header.Get("Content-Type") != "application/problem+json" {
		return middleware.Forwarded
	}
	var problem middleware.Problem
	if json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&problem) != nil {
		return middleware.ReasonNone
	}
	for _, reason := range middleware.Reasons() {
		if reason.String() == problem.Reason {
			return reason
		}
	}
	return middleware.ReasonNone
}

func statusOf(reason middleware.Reason) int {
	if status := reason.Info().Status; status != 0 {
		return status
	}
	return http.StatusOK
}

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
