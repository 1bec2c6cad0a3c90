package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A report prints its parts as they come and is written as Markdown at the end.
type report struct {
	out     io.Writer
	opts    options
	machine string
	load    string // of the machine before the run
	parts   []string
	picture string
}

func newReport(out io.Writer, opts options) *report {
	return &report{out: out, opts: opts, machine: describeMachine(), load: loadAverage()}
}

// describeMachine says where the figures come from. It names no host.
func describeMachine() string {
	model := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo") // the architecture is enough otherwise
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d processors (%s), %s, %s", runtime.NumCPU(), model, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

// loadAverage returns how many processes wanted a processor in the last minute:
// others on the machine make the figures worse.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	average, _, _ := strings.Cut(string(text), " ")
	return average
}

// show prints a part and keeps it.
func (r *report) show(t *table) {
	fmt.Fprintln(r.out, t.text())
	r.parts = append(r.parts, t.markdown())
}

// costs reports what a request costs in each variant.
func (r *report) costs(results []result, notes []string) {
	run := fmt.Sprintf("%s. %d rounds of %s, %d keep-alive connections, %d tokens; medians (least–most); "+
		"× BASE is the median of each round's ratio. Load average before the run: %s.",
		r.machine, r.opts.rounds, r.opts.duration, r.opts.connections, manyTokens, r.load)
	t := &table{
		title: "Cost of a request",
		notes: append([]string{run}, notes...),
		head: []string{
			"", "× BASE", "CPU µs", "least–most", "requests/s", "least–most", "allocations", "KiB", "MiB", "Redis µs", "p99 ms", "not 2xx",
		},
	}
	bars := make([]bar, 0, len(results))
	for _, res := range results {
		ratio := res.over(func(s sample) float64 { return s.ratio }).median
		cpu := res.over(func(s sample) float64 { return s.cpu })
		rate := res.over(func(s sample) float64 { return s.perSecond })
		allocs, kib := "–", "–"
		if res.samples[0].hasAllocated {
			allocs = fmt.Sprintf("%.0f", res.over(func(s sample) float64 { return s.allocs }).median)
			kib = figure(res.over(func(s sample) float64 { return s.kib }).median)
		}
		t.add(res.name+": "+res.about, figure(ratio), figure(cpu.median), cpu.String(), figure(rate.median), rate.String(), allocs, kib,
			figure(res.over(func(s sample) float64 { return s.memory }).most),
			figure(res.over(func(s sample) float64 { return s.redis }).median),
			figure(res.over(func(s sample) float64 { return s.p99.Seconds() * 1000 }).median),
			res.unexpected())
		bars = append(bars, bar{
			label: label(res.variant), value: ratio, base: res.name == nameBase,
			note: fmt.Sprintf("%s × · %s µs · %s/s", figure(ratio), figure(cpu.median), figure(rate.median)),
		})
	}
	r.show(t)
	r.picture = chart("CPU per request, compared with a bare httputil.ReverseProxy", r.machine, bars)
}

// label is the short form of what a variant is.
func label(v *variant) string {
	short, _, _ := strings.Cut(v.about, " (")
	return short
}

// unexpected returns how many answers were not what the variant is for: other
// than 2xx and 3xx, or other than 429.
func (r result) unexpected() string {
	var n, failed int64
	for _, s := range r.samples {
		failed += s.failed
		if r.limited {
			n += s.unlimited
		} else {
			n += s.bad
		}
	}
	text := fmt.Sprint(n)
	if r.limited {
		text += " not 429"
	}
	if failed > 0 {
		text += fmt.Sprintf(", %d socket errors", failed)
	}
	return text
}

// write writes the report and its picture under a directory.
func (r *report) write(dir string) error {
	images := filepath.Join(dir, "images")
	if err := os.MkdirAll(images, 0o750); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(images, "bench.svg"), []byte(r.picture), 0o600); err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	text := "# What a request costs\n\nWritten by `make bench-e2e`; " + r.machine +
		". Ratios travel from machine to machine, absolute figures do not.\n\n" +
		"![CPU per request, compared with a bare httputil.ReverseProxy](images/bench.svg)\n\n" + strings.Join(r.parts, "\n")
	if err := os.WriteFile(filepath.Join(dir, "BENCH.md"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
