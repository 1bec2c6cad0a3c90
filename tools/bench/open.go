package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// mostOpen is the highest rate of the open loop: above it the generator, which
// shares the machine, is what is measured.
const mostOpen = 4000

// openLoop sends requests at a fixed rate, whether or not earlier ones were
// answered, and reports how long they took: half of what the slower of the two
// answered in the closed loop, or [mostOpen].
func (l *lab) openLoop(results []result, opts options, doc *report) error {
	var driven []result
	rate := float64(mostOpen)
	for _, r := range results {
		if r.name != nameBase && r.name != nameOne {
			continue
		}
		driven = append(driven, r)
		if capacity := r.over(func(s sample) float64 { return s.perSecond }).median; capacity/2 < rate {
			rate = capacity / 2
		}
	}
	t := &table{
		title: "Latency at a fixed rate",
		head:  []string{"", "requests/s", "p50 ms", "p90 ms", "p99 ms", "slowest ms", "not 2xx"},
		notes: []string{fmt.Sprintf("Open loop: %s requests a second for %s, half of what the slower one answered above, %s at the most.",
			figure(rate), 2*opts.duration, thousands(fmt.Sprint(mostOpen)))},
	}
	for _, r := range driven {
		m := attack(r.server.addr, r.tokens, int(rate), 2*opts.duration)
		if err := l.ctx.Err(); err != nil {
			return err
		}
		bad := float64(m.Requests) * (1 - m.Success)
		t.add(r.name+": "+r.about, figure(m.Rate), milliseconds(m.Latencies.P50), milliseconds(m.Latencies.P90),
			milliseconds(m.Latencies.P99), milliseconds(m.Latencies.Max), fmt.Sprintf("%.0f", bad))
	}
	doc.show(t)
	return nil
}

func attack(addr string, set tokenSet, rate int, duration time.Duration) vegeta.Metrics {
	var turn atomic.Int64
	target := func(t *vegeta.Target) error {
		t.Method, t.URL = http.MethodGet, "http://"+addr+set.path
		t.Header = http.Header{"Authorization": {set.headers[int(turn.Add(1))%len(set.headers)]}}
		return nil
	}
	attacker := vegeta.NewAttacker(vegeta.KeepAlive(true), vegeta.Connections(512), vegeta.Timeout(10*time.Second))
	var m vegeta.Metrics
	for res := range attacker.Attack(target, vegeta.Rate{Freq: max(1, rate), Per: time.Second}, duration, "") {
		m.Add(res)
	}
	m.Close()
	return m
}

func milliseconds(d time.Duration) string { return figure(d.Seconds() * 1000) }
