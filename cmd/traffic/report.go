package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
)

// report says what was sent, what came back and where to look at it. Its error
// says how many answers were not as expected.
func (t *tally) report(w io.Writer, s settings) error {
	if s.json {
		if err := json.NewEncoder(w).Encode(t.results); err != nil {
			return err
		}
	} else {
		t.table(w, s)
		t.links(w, s)
	}
	wrong := 0
	for _, r := range t.results {
		wrong += r.Unexpected + r.Failed
	}
	if wrong > 0 {
		return fmt.Errorf("%d answers were not as expected", wrong)
	}
	return nil
}

func (t *tally) table(w io.Writer, s settings) {
	total := 0
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "\nrequest\tsent\tanswers\treasons\ta trace")
	for _, r := range t.results {
		total += r.Sent
		trace := "–"
		if r.TraceID != "" {
			trace = s.jaeger + "/trace/" + r.TraceID
		}
		note := ""
		if r.Unexpected+r.Failed > 0 {
			note = fmt.Sprintf("  (%d NOT AS EXPECTED, %d unanswered)", r.Unexpected, r.Failed)
		}
		fmt.Fprintf(columns, "%s\t%d\t%s\t%s\t%s%s\n", r.Kind, r.Sent, counts(r.Statuses), counts(r.Reasons), trace, note)
	}
	_ = columns.Flush() // a terminal that is gone cannot be told
	fmt.Fprintf(w, "\n%d requests in %.0f s\n", total, t.took.Seconds())
}

func (t *tally) links(w io.Writer, s settings) {
	query := `sum by (gateway_stage, gateway_reason) (increase(gateway_decisions_total{gateway_verdict!="allow"}[5m]))`
	fmt.Fprintf(w, "\nrate-limit rejections  %s/d/tyk-proxy-rate-limit?from=now-15m&to=now\n", s.grafana)
	fmt.Fprintf(w, "all refusals           %s/query?g0.expr=%s&g0.tab=graph&g0.range_input=15m\n", s.prometheus, url.QueryEscape(query))
	fmt.Fprintf(w, "refused traces         %s/search?service=tyk_proxy&tags=%s\n", s.jaeger,
		url.QueryEscape(`{"gateway.reason":"rate_limited"}`))
}

// counts lists keys and how often each was met, in order: "200×3 429×5".
func counts[K ~int | ~string](m map[K]int) string {
	texts := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		texts = append(texts, fmt.Sprintf("%v×%d", key, m[key]))
	}
	return strings.Join(texts, " ")
}
