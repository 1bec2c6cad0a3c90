package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// scrapeMargin is Prometheus's scrape interval, after which the last values
// are visible.
const scrapeMargin = 15 * time.Second

// notRunning replaces a link to a service that does not run.
const notRunning = "(not running; make up starts it)"

// report prints the requests, the answers and the links. Its error has the
// number of unexpected answers and the result of checkLimit.
func (t *tally) report(ctx context.Context, w io.Writer, s settings) error {
	if s.json {
		if err := json.NewEncoder(w).Encode(t.results); err != nil {
			return err
		}
	} else {
		traces := running(ctx, s.jaeger)
		t.table(w, s, traces)
		t.links(ctx, w, s, traces)
	}
	wrong := 0
	for _, r := range t.results {
		wrong += r.Unexpected + r.Failed
	}
	limit := t.checkLimit()
	if wrong > 0 {
		return errors.Join(fmt.Errorf("%d answers were not as expected", wrong), limit)
	}
	return limit
}

// table prints one line per kind. traces says whether Jaeger runs.
func (t *tally) table(w io.Writer, s settings, traces bool) {
	total := 0
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "\nrequest\tsent\tanswers\treasons\ta trace")
	for _, r := range t.results {
		total += r.Sent
		if r.Sent == 0 {
			fmt.Fprintf(columns, "%s\t0\t–\t–\tnot sent: run longer\n", r.Kind)
			continue
		}
		trace := "–"
		switch {
		case r.TraceID != "" && traces:
			trace = s.jaeger + "/trace/" + r.TraceID
		case r.TraceID != "":
			trace = r.TraceID // the log has the id
		}
		fmt.Fprintf(columns, "%s\t%d\t%s\t%s\t%s%s\n", r.Kind, r.Sent, counts(r.Statuses), counts(r.Reasons), trace, r.note())
	}
	_ = columns.Flush() // a write error has no other output
	fmt.Fprintf(w, "\n%d requests in %.0f s\n", total, t.took.Seconds())
}

// note describes the unexpected answers of a kind.
func (r *result) note() string {
	if r.Unexpected+r.Failed == 0 {
		return ""
	}
	note := fmt.Sprintf("  (%d NOT AS EXPECTED, %d unanswered", r.Unexpected, r.Failed)
	if r.Error != "" {
		note += ": " + r.Error
	}
	return note + ")"
}

// links prints links with the time range of the run.
func (t *tally) links(ctx context.Context, w io.Writer, s settings, traces bool) {
	end := t.began.Add(t.took + scrapeMargin)
	link := func(name string, runs bool, place, format string, args ...any) {
		if !runs {
			fmt.Fprintf(w, "%-22s %s %s\n", name, place, notRunning)
			return
		}
		fmt.Fprintf(w, "%-22s %s%s\n", name, place, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w)
	link("rate-limit rejections", running(ctx, s.grafana), s.grafana, "/d/tyk-proxy-rate-limit?from=%d&to=%d",
		t.began.UnixMilli(), end.UnixMilli())
	query := `sum by (gateway_stage, gateway_reason) (increase(gateway_decisions_total{gateway_verdict!="allow"}[5m]))`
	link("all refusals", running(ctx, s.prometheus), s.prometheus, "/query?g0.expr=%s&g0.tab=graph&g0.range_input=%ds&g0.end_input=%s",
		url.QueryEscape(query), int((t.took+2*scrapeMargin).Seconds())+1, url.QueryEscape(end.UTC().Format(time.DateTime)))
	link("refused traces", traces, s.jaeger, "/search?service=%s&tags=%s&lookback=custom&start=%d&end=%d&limit=20",
		url.QueryEscape(s.service), url.QueryEscape(`{"gateway.reason":"rate_limited"}`), t.began.UnixMicro(), end.UnixMicro())
}

// counts lists the keys in order with their counts: "200×3 429×5".
func counts[K ~int | ~string](m map[K]int) string {
	texts := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		texts = append(texts, fmt.Sprintf("%v×%d", key, m[key]))
	}
	return strings.Join(texts, " ")
}
