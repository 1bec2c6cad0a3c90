package telemetry

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

var update = flag.Bool("update", false, "write the generated and golden files instead of comparing them")

const documentFile = "../observability/TELEMETRY.md"

// The document is generated, so that it has the same names as the program.
func TestDocument(t *testing.T) {
	compareFile(t, documentFile, document())
}

// compareFile compares text with a committed file. With -update it writes the
// file.
func compareFile(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("%s is stale: run go test ./telemetry -update (-file +want):\n%s", path, diff)
	}
}

func document() string {
	var b strings.Builder
	b.WriteString("# Telemetry\n\n" +
		"Every span, metric and attribute of the gateway. This file is generated from `telemetry/names/catalogue.go` and\n" +
		"`middleware/reason.go` by `go test ./telemetry -update`.\n\n" +
		"The reason of a decision is the same word everywhere: in the answer's `reason`, the label `gateway_reason`, the\n" +
		"attribute `gateway.reason` of the span, and the log line. [Reasons](#reasons) lists them all.\n\n" +
		"[OPERATING.md](OPERATING.md#telemetry) says where traces go and which requests have one.\n\n")
	documentSpans(&b)
	documentMetrics(&b)
	documentAttributes(&b)
	documentReasons(&b)
	b.WriteString("\n## Which traces are there\n\n" +
		"A request is sampled by `telemetry.traces.sample_ratio`, or by a trusted caller's `traceparent`, before its first span.\n" +
		"A sampled request is exported. Any other makes no spans; it is kept if it is refused, fails, passes by policy, is slow or\n" +
		"is answered with a 5xx by the backend, up to `telemetry.traces.keep_per_second` of each kind, and its trace is written\n" +
		"when it ends. The kinds are failures, the backend's 5xx, slow requests, and each stage's refusals. The `X-Trace-Id` of a\n" +
		"request that is neither sampled nor kept leads to no trace, only to its log line.\n")
	return b.String()
}

func documentSpans(b *strings.Builder) {
	b.WriteString("## Spans\n\n| Span | Kind | Parent | Meaning | Attributes |\n|---|---|---|---|---|\n")
	for _, s := range names.Spans() {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", s.Name, s.SpanKind, s.Parent, s.Meaning, keyList(s.Attributes))
	}
	fmt.Fprintf(b, "\nA denial leaves a span's status unset; a failure sets Error and `error.type`. Library spans carry further\n"+
		"attributes of their semantic conventions.\n\n## Log line\n\nEach request that reaches a stage has one line, `%s`: debug for "+
		"allow, info for deny, warning for bypass,\nerror for fail. Lines of the same refusal beyond %d a second are left out "+
		"and counted in `%s`\nof the next one, or of a line `%s` if there is no next one within a second.\n\n",
		names.MessageDecision, linesPerSecond, names.AttrSuppressed, names.MessageSuppressed)
}

func documentMetrics(b *strings.Builder) {
	b.WriteString("## Metrics\n\n| Metric | In Prometheus | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|---|\n")
	for _, m := range names.Catalogue() {
		fmt.Fprintf(b, "| `%s` | `%s` | %s | %s | %s | %s |\n", m.Name, m.PrometheusName(), m.Kind, m.Unit, keyList(m.Labels), m.Meaning)
	}
	fmt.Fprintf(b, "\nThe Go runtime and the process report as `go_*` and `process_*`; `target_info` carries the service's name and\n"+
		"version. The gateway's own counters and histograms are there from the start, at 0. Labels are closed sets: an\n"+
		"unknown method is `%s`, and so is every route beyond the first %d, or beyond %d combinations with methods and\n"+
		"statuses. No key, path, host or other value of a client's is ever a label.\n\n",
		names.Other, maxRoutes, maxRouteSeries)
}

func documentAttributes(b *strings.Builder) {
	b.WriteString("## Attributes and log fields of our own\n\n| Name | On | Meaning |\n|---|---|---|\n")
	for _, a := range names.Attributes() {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", a.Key, a.On, a.Meaning)
	}
}

func documentReasons(b *strings.Builder) {
	b.WriteString("\n## Reasons\n\n| Reason | Stage | Verdict | Status | Log level | Meaning |\n|---|---|---|---|---|---|\n")
	for _, r := range middleware.Reasons() {
		info := r.Info()
		status, stage := "–", strings.Join(stagesOf(r), ", ")
		if info.Status != 0 {
			status = fmt.Sprint(info.Status)
		}
		if info.Stage == middleware.StageAny {
			stage = "any"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", info.Name, stage, info.Verdict, status, levelOf(info.Verdict), info.Title)
	}
}

// stagesOf returns the stages that can end with a reason.
func stagesOf(r middleware.Reason) []string {
	return slices.DeleteFunc(middleware.StageNames(), func(stage string) bool { return !slices.Contains(middleware.ReasonsOf(stage), r) })
}

// TestStagesHaveSpans checks that no stage is missing in the table of spans.
func TestStagesHaveSpans(t *testing.T) {
	for _, stage := range middleware.StageNames() {
		if !slices.ContainsFunc(names.Spans(), func(s names.Span) bool { return s.Name == names.SpanPrefix+stage }) {
			t.Errorf("telemetry/names has no span for the stage %s", stage)
		}
	}
}

// TestReasonsFitTheTable checks that each reason has a title that can stand in
// a table.
func TestReasonsFitTheTable(t *testing.T) {
	for _, r := range middleware.Reasons() {
		if info := r.Info(); !strings.HasSuffix(info.Title, ".") || strings.Contains(info.Title, "|") {
			t.Errorf("%s: the title %q is no sentence, or has a column's mark", info.Name, info.Title)
		}
	}
}

func keyList(all []attribute.Key) string {
	texts := make([]string, len(all))
	for i, key := range all {
		texts[i] = "`" + string(key) + "`"
	}
	return strings.Join(texts, " ")
}
