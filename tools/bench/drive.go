package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A load is one run of wrk.
type load struct {
	addr        string
	tokens      tokenSet
	connections int
	duration    time.Duration
}

// wrkResult is what wrk says of a run.
type wrkResult struct {
	requests  int64
	elapsed   time.Duration
	bad       int64 // answers of 400 and above
	failed    int64 // socket errors and timeouts
	p50, p99  time.Duration
	perSecond float64
}

// good returns how many answers a second were below 400.
func (r wrkResult) good() float64 {
	if r.elapsed == 0 {
		return 0
	}
	return float64(r.requests-r.bad) / r.elapsed.Seconds()
}

func (l *lab) wrk(ctx context.Context, ld load) (wrkResult, error) {
	script, err := l.wrkScript()
	if err != nil {
		return wrkResult{}, err
	}
	threads := strconv.Itoa(min(2, ld.connections))
	cmd := exec.CommandContext(ctx, "wrk", "-t"+threads, "-c"+strconv.Itoa(ld.connections),
		fmt.Sprintf("-d%ds", int(ld.duration.Seconds())), "--latency", "--timeout", "10s", "-s", script,
		"http://"+ld.addr+ld.tokens.path, "--", ld.tokens.file, threads)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w\n%s", err, problems.String())
	}
	return parseWrk(out.String())
}

// A wrkPatterns finds the figures in what wrk prints.
type wrkPatterns struct{ total, rate, bad, errors, p50, p99 *regexp.Regexp }

func newWrkPatterns() wrkPatterns {
	return wrkPatterns{
		total:  regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+(?:us|ms|s|m|h)),`),
		rate:   regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`),
		bad:    regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`),
		errors: regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`),
		p50:    regexp.MustCompile(`(?m)^\s*50%\s+([\d.]+(?:us|ms|s|m|h))`),
		p99:    regexp.MustCompile(`(?m)^\s*99%\s+([\d.]+(?:us|ms|s|m|h))`),
	}
}

func parseWrk(text string) (wrkResult, error) {
	patterns := newWrkPatterns()
	total, rate := patterns.total.FindStringSubmatch(text), patterns.rate.FindStringSubmatch(text)
	p50, p99 := patterns.p50.FindStringSubmatch(text), patterns.p99.FindStringSubmatch(text)
	if total == nil || rate == nil || p50 == nil || p99 == nil {
		return wrkResult{}, fmt.Errorf("wrk printed something unexpected:\n%s", text)
	}
	var r wrkResult
	var faults [5]error
	r.requests, faults[0] = strconv.ParseInt(total[1], 10, 64)
	r.elapsed, faults[1] = time.ParseDuration(total[2])
	r.perSecond, faults[2] = strconv.ParseFloat(rate[1], 64)
	r.p50, faults[3] = time.ParseDuration(p50[1])
	r.p99, faults[4] = time.ParseDuration(p99[1])
	if bad := patterns.bad.FindStringSubmatch(text); bad != nil {
		r.bad, _ = strconv.ParseInt(bad[1], 10, 64) // the pattern has digits only
	}
	if failed := patterns.errors.FindStringSubmatch(text); failed != nil {
		for _, digits := range failed[1:] {
			n, _ := strconv.ParseInt(digits, 10, 64) // the pattern has digits only
			r.failed += n
		}
	}
	return r, errors.Join(faults[:]...)
}

// counters are what a server and Redis have used so far.
type counters struct {
	cpu, redis     time.Duration
	allocs, bytes  float64
	limited        float64 // decisions for a spent limit
	hasAllocations bool
}

func (l *lab) read(s *server) (counters, error) {
	page, err := scrape(l.ctx, s.metrics)
	if err != nil {
		return counters{}, err
	}
	c := counters{
		allocs: metric(page, metricAllocs), bytes: metric(page, metricBytes), hasAllocations: page != "",
		limited: metric(page, "gateway_decisions_total", `gateway_reason="rate_limited"`),
	}
	if c.cpu, err = s.cpu(); err != nil {
		return c, err
	}
	c.redis, err = l.redis.cpu()
	return c, err
}

// metric returns the sum of a metric's samples in a page of Prometheus' text
// format, of those only whose labels contain each of the texts.
func metric(page, name string, labels ...string) float64 {
	var sum float64
	for line := range strings.Lines(page) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest == "" || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		matches := true
		for _, label := range labels {
			matches = matches && strings.Contains(rest, label)
		}
		rest, _, _ = strings.Cut(rest, " #") // an exemplar may follow
		fields := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		if value, err := strconv.ParseFloat(append(fields, "")[0], 64); err == nil && matches {
			sum += value
		}
	}
	return sum
}
