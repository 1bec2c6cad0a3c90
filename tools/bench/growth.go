package main

import (
	"fmt"
	"sync"
	"time"
)

// growth reports how the gateway behaves when there is more of something. Each
// part starts gateways of its own, at 1 % sampled.
func (l *lab) growth(base *variant, opts options, doc *report) error {
	parts := []func(options, *report) error{
		func(opts options, doc *report) error { return l.growConnections(base, opts, doc) },
		l.growTokens, l.growRoutes, l.growGateways, l.coldStart, l.silentRedis,
	}
	for _, part := range parts {
		if err := part(opts, doc); err != nil {
			return err
		}
	}
	return nil
}

// gatewayFor starts a gateway at 1 % as a variant that is asked with a set.
func (l *lab) gatewayFor(set tokenSet) (*variant, error) {
	s, err := l.startGateway(onePercent())
	if err != nil {
		return nil, err
	}
	v := &variant{name: nameOne, server: s, tokens: set}
	return v, l.preflight(v)
}

// growConnections reports good answers a second by connections, for the gateway
// and for BASE one after the other.
func (l *lab) growConnections(base *variant, opts options, doc *report) error {
	gateway, err := l.gatewayFor(l.tokens.usual)
	if err != nil {
		return err
	}
	defer gateway.server.stop()
	sizes := []int{1, 16, 64, 256, 1024, 2048}
	if opts.quick {
		sizes = []int{1, 64, 1024}
	}
	t := &table{
		title: "Connections",
		head: []string{
			"connections", "good/s", "of the good at 64", "not 2xx", "share", "p99 ms", "MiB", "BASE good/s", "BASE not 2xx", "BASE p99 ms",
		},
	}
	samples := map[int][2]sample{}
	for _, n := range sizes {
		var pair [2]sample
		for i, v := range []*variant{gateway, base} {
			if pair[i], err = l.sample(v, n, opts.duration); err != nil {
				return err
			}
		}
		samples[n] = pair
	}
	for _, n := range sizes {
		ours, theirs := samples[n][0], samples[n][1]
		share := 100 * float64(ours.bad) / float64(max(1, ours.requests))
		t.add(thousands(fmt.Sprint(n)), figure(ours.good()), figure(ours.good()/samples[64][0].good()),
			thousands(fmt.Sprint(ours.bad)), fmt.Sprintf("%.1f %%", share), milliseconds(ours.p99), figure(ours.memory),
			figure(theirs.good()), thousands(fmt.Sprint(theirs.bad)), milliseconds(theirs.p99))
	}
	doc.show(t)
	return nil
}

// growTokens reports the cost by distinct tokens. A run lasts until
// about every token was used.
func (l *lab) growTokens(opts options, doc *report) error {
	sizes := []int{1, 1000, 100_000}
	if opts.quick {
		sizes = sizes[:2]
	}
	t := &table{
		title: "Distinct tokens",
		head: []string{
			"tokens", "requests", "CPU µs", "Redis µs", "requests/s", "p99 ms", "MiB before", "MiB after", "Redis MiB", "not 2xx",
		},
		notes: []string{
			"A fresh gateway for each line. The tokens are used in turn: as many requests as tokens use each of them.",
			"One token is a hot key.",
		},
	}
	for _, n := range sizes {
		if err := l.growTokensTo(n, opts, t); err != nil {
			return err
		}
	}
	doc.show(t)
	return nil
}

func (l *lab) growTokensTo(n int, opts options, t *table) error {
	const atMost = time.Minute
	set, err := l.tokens.mint(l.ctx, n, highLimit, twoRoutes())
	if err != nil {
		return err
	}
	v, err := l.gatewayFor(set)
	if err != nil {
		return err
	}
	defer v.server.stop()
	before, err := v.server.memory()
	if err != nil {
		return err
	}
	s, err := l.sample(v, opts.connections, opts.duration)
	if err == nil && s.requests < int64(n) {
		needed := time.Duration(1.2*float64(n)/max(1, s.perSecond))*time.Second + time.Second
		s, err = l.sample(v, opts.connections, min(needed, atMost))
	}
	if err != nil {
		return err
	}
	store, err := l.redis.memory()
	if err != nil {
		return err
	}
	t.add(thousands(fmt.Sprint(n)), thousands(fmt.Sprint(s.requests)), figure(s.cpu), figure(s.redis), figure(s.perSecond),
		milliseconds(s.p99), figure(before), figure(s.memory), figure(store), fmt.Sprint(s.bad))
	return nil
}

// growRoutes reports the cost by routes in a record, of which the last one
// allows the request.
func (l *lab) growRoutes(opts options, doc *report) error {
	sizes := []int{2, 100, 400, 1000}
	sets := make([]*variant, len(sizes))
	gateway, err := l.gatewayFor(l.tokens.usual)
	if err != nil {
		return err
	}
	defer gateway.server.stop()
	for i, n := range sizes {
		set, err := l.tokens.mint(l.ctx, manyTokens, highLimit, routes(n))
		if err != nil {
			return err
		}
		sets[i] = &variant{name: fmt.Sprint(n), server: gateway.server, tokens: set}
		if err := l.preflight(sets[i]); err != nil {
			return err
		}
	}
	shorter := opts
	shorter.rounds = min(3, opts.rounds)
	results, err := l.rounds(sets, shorter)
	if err != nil {
		return err
	}
	t := &table{
		title: "Routes in a record",
		head:  []string{"routes", "CPU µs", "× 2 routes", "least–most", "Redis µs", "requests/s", "allocations", "not 2xx"},
	}
	for _, r := range results {
		ratio := r.over(func(s sample) float64 { return s.ratio })
		t.add(r.name, figure(r.over(func(s sample) float64 { return s.cpu }).median), figure(ratio.median), ratio.String(),
			figure(r.over(func(s sample) float64 { return s.redis }).median),
			figure(r.over(func(s sample) float64 { return s.perSecond }).median),
			fmt.Sprintf("%.0f", r.over(func(s sample) float64 { return s.allocs }).median), r.unexpected())
	}
	doc.show(t)
	return nil
}

// growGateways reports what one Redis does for one and for four gateways, which
// share the connections evenly.
func (l *lab) growGateways(opts options, doc *report) error {
	t := &table{
		title: "Gateways on one Redis",
		head:  []string{"gateways", "requests/s", "Redis µs", "Redis busy", "CPU µs", "not 2xx"},
		notes: []string{"Redis busy is the share of one processor; it has one thread for commands."},
	}
	for _, n := range []int{1, 4} {
		if err := l.growGatewaysTo(n, opts, t); err != nil {
			return err
		}
	}
	doc.show(t)
	return nil
}

func (l *lab) growGatewaysTo(n int, opts options, t *table) error {
	gateways := make([]*variant, n)
	for i := range gateways {
		v, err := l.gatewayFor(l.tokens.usual)
		if err != nil {
			return err
		}
		defer v.server.stop()
		gateways[i] = v
	}
	busy, err := l.redis.cpu()
	if err != nil {
		return err
	}
	samples, faults := make([]sample, n), make([]error, n)
	var all sync.WaitGroup
	for i, v := range gateways {
		all.Go(func() { samples[i], faults[i] = l.sample(v, max(1, opts.connections/n), opts.duration) })
	}
	all.Wait()
	after, err := l.redis.cpu()
	if err != nil {
		return err
	}
	var requests, bad int64
	var rate, cpu float64
	for i, s := range samples {
		if faults[i] != nil {
			return faults[i]
		}
		requests, bad, rate, cpu = requests+s.requests, bad+s.bad, rate+s.perSecond, cpu+s.cpu*float64(s.requests)
	}
	perRequest := float64((after - busy).Microseconds()) / float64(max(1, requests))
	t.add(fmt.Sprint(n), figure(rate), figure(perRequest), fmt.Sprintf("%.0f %%", perRequest*rate/1e4),
		figure(cpu/float64(max(1, requests))), fmt.Sprint(bad))
	return nil
}
