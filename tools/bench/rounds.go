package main

import (
	"fmt"
	"slices"
	"time"
)

// A sample is what one round measured of one variant.
type sample struct {
	wrkResult

	cpu, redis   float64 // microseconds a request
	ratio        float64 // of cpu to BASE's in the same round
	allocs, kib  float64 // a request
	memory       float64 // MiB
	unlimited    int64   // of a limited variant: answers other than 429
	hasAllocated bool
}

// A result is a variant with its samples, one for each round.
type result struct {
	*variant

	samples []sample
}

// rounds drives the variants in turn, so that what else the machine does falls
// on all of them. Each round begins with another variant.
func (l *lab) rounds(variants []*variant, opts options) ([]result, error) {
	results := make([]result, len(variants))
	for i, v := range variants {
		results[i].variant = v
		warm := load{addr: v.server.addr, tokens: v.tokens, connections: opts.connections, duration: time.Second}
		if _, err := l.wrk(l.ctx, warm); err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	for round := range opts.rounds {
		for i := range results {
			r := &results[(i+round)%len(results)]
			s, err := l.sample(r.variant, opts.connections, opts.duration)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			r.samples = append(r.samples, s)
		}
		base := results[0].samples[round].cpu
		for i := range results {
			s := &results[i].samples[round]
			s.ratio = s.cpu / base
		}
	}
	return results, nil
}

// sample drives one server once.
func (l *lab) sample(v *variant, connections int, duration time.Duration) (sample, error) {
	before, err := l.read(v.server)
	if err != nil {
		return sample{}, err
	}
	ran, err := l.wrk(l.ctx, load{addr: v.server.addr, tokens: v.tokens, connections: connections, duration: duration})
	if err != nil {
		return sample{}, err
	}
	after, err := l.read(v.server)
	if err != nil {
		return sample{}, err
	}
	s := sample{wrkResult: ran, hasAllocated: after.hasAllocations}
	n := float64(max(1, ran.requests))
	s.cpu = float64((after.cpu - before.cpu).Microseconds()) / n
	s.redis = float64((after.redis - before.redis).Microseconds()) / n
	s.allocs, s.kib = (after.allocs-before.allocs)/n, (after.bytes-before.bytes)/n/1024
	if v.limited {
		// wrk stops before the last answers arrive, which the gateway counted.
		s.unlimited = max(0, ran.requests-int64(after.limited-before.limited))
	}
	s.memory, err = v.server.memory()
	return s, err
}

// spread is the middle, the least and the most of some values.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{median: median, least: sorted[0], most: sorted[len(sorted)-1]}
}

// over returns the spread of a value over the rounds.
func (r result) over(value func(sample) float64) spread {
	values := make([]float64, 0, len(r.samples))
	for _, s := range r.samples {
		values = append(values, value(s))
	}
	return spreadOf(values)
}
