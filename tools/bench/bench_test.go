package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const wrkOutput = `Running 3s test @ http://127.0.0.1:8080/api/v1/test
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    12.39ms    4.31ms  52.80ms   75.94%
    Req/Sec     2.60k   231.31     3.10k    70.00%
  Latency Distribution
     50%   11.85ms
     75%   14.52ms
     90%   17.66ms
     99%    1.25s 
  15561 requests in 3.01s, 3.04MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 561
Requests/sec:   5169.77
Transfer/sec:      1.01MB
`

func TestParseWrk(t *testing.T) {
	got, err := parseWrk(wrkOutput)
	want := wrkResult{
		requests: 15561, elapsed: 3010 * time.Millisecond, bad: 561, failed: 10,
		p50: 11850 * time.Microsecond, p99: 1250 * time.Millisecond, perSecond: 5169.77,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if good := got.good(); good < 4983 || good > 4984 { // 15,000 in 3.01s
		t.Errorf("good answers a second: %f", good)
	}
}

func TestParseWrkWithoutErrors(t *testing.T) {
	text := strings.ReplaceAll(strings.ReplaceAll(wrkOutput, "Socket errors", "x"), "Non-2xx", "x")
	if got, err := parseWrk(text); err != nil || got.bad != 0 || got.failed != 0 {
		t.Errorf("got %+v, %v; want nothing bad", got, err)
	}
	if _, err := parseWrk("unable to connect"); err == nil {
		t.Error("text without figures is taken for a result")
	}
}

func TestParseStat(t *testing.T) {
	// The name of a command may hold spaces and parentheses.
	got, err := parseStat("42 (a ) 1 b) S 7 42 42 0 -1 4194560 100 0 0 0 150 25 9 9 20 0 1 0 1 1 1")
	if want := (stat{parent: 7, cpu: 1750 * time.Millisecond}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, text := range []string{"", "42 (a) S 7", "42 (a) S x 42 42 0 -1 4194560 100 0 0 0 150 25 9"} {
		if _, err := parseStat(text); !errors.Is(err, errStat) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestServerCPUAndMemory(t *testing.T) {
	process, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	self := &server{workers: true, cmd: &exec.Cmd{Process: process}}
	if _, err := self.cpu(); err != nil {
		t.Error(err)
	}
	if mib, err := self.memory(); err != nil || mib < 1 || mib > 10_000 {
		t.Errorf("this process has %f MiB, %v", mib, err)
	}
}

func TestMetric(t *testing.T) {
	const page = `# HELP go_memstats_mallocs_total x
go_memstats_mallocs_total 1.5e+06
go_memstats_mallocs_total_more 7
gateway_decisions_total{gateway_reason="rate_limited",gateway_stage="rate_limit"} 40
gateway_decisions_total{gateway_reason="rate_limited",gateway_stage="x"} 2 # {trace_id="1"} 1 2
gateway_decisions_total{gateway_reason="proxied"} 100
`
	if got := metric(page, metricAllocs); got != 1.5e6 {
		t.Errorf("allocations: %f", got)
	}
	if got := metric(page, "gateway_decisions_total", `gateway_reason="rate_limited"`); got != 42 {
		t.Errorf("decisions: %f, want 42", got)
	}
}

func TestTable(t *testing.T) {
	tab := &table{title: "Cost", head: []string{"", "µs"}, notes: []string{"A note."}}
	tab.add("base", "9.00")
	tab.add("ours: ×", "1,234")
	if got, want := tab.text(), "Cost\n              µs\n  base      9.00\n  ours: ×  1,234\n  A note.\n"; got != want {
		t.Errorf("text:\n%s\nwant:\n%s", got, want)
	}
	want := "## Cost\n\n|  | µs |\n|---|--:|\n| base | 9.00 |\n| ours: × | 1,234 |\n\nA note.\n"
	if got := tab.markdown(); got != want {
		t.Errorf("markdown:\n%s\nwant:\n%s", got, want)
	}
}

func TestFigures(t *testing.T) {
	for x, want := range map[float64]string{0: "0.00", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234567: "1,234,567"} {
		if got := figure(x); got != want {
			t.Errorf("%v: got %s, want %s", x, got, want)
		}
	}
	if got := spreadOf([]float64{9, 1, 4, 2}); got != (spread{median: 3, least: 1, most: 9}) {
		t.Errorf("spread: %+v", got)
	}
}

func TestChartIsAnSVG(t *testing.T) {
	text := chart("A & B", "<machine>", []bar{{label: "base", value: 1, base: true}, {label: "ours", value: 2, note: "2 ×"}})
	decoder := xml.NewDecoder(strings.NewReader(text))
	var widths []string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "rect" {
			for _, a := range element.Attr {
				if a.Name.Local == "width" {
					widths = append(widths, a.Value)
				}
			}
		}
	}
	if got, want := strings.Join(widths, " "), "100% 190.0 380.0"; got != want {
		t.Errorf("widths of the page and the bars: %s, want %s", got, want)
	}
	if !strings.Contains(text, "prefers-color-scheme: dark") {
		t.Error("the chart has no colours for a dark page")
	}
}

// Every setting of every variant is a member of the shipped configuration.
func TestConfigure(t *testing.T) {
	shipped, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range allVariants() {
		text, err := configure(shipped, v.settings)
		if err != nil || !json.Valid(text) {
			t.Errorf("%s: %v", v.name, err)
		}
	}
	text, err := configure([]byte(`{"a":{"b":1,"c":2}}`), settings{"a.b": "x"})
	if got := strings.Join(strings.Fields(string(text)), ""); err != nil || got != `{"a":{"b":"x","c":2}}` {
		t.Errorf("got %s, %v", got, err)
	}
	for _, path := range []string{"a.d", "x.b", "y"} {
		if _, err := configure([]byte(`{"a":{"b":1}}`), settings{path: 1}); err == nil {
			t.Errorf("%s was set, which is not there", path)
		}
	}
}

func TestChosen(t *testing.T) {
	got, err := chosen("429,off")
	if err != nil || len(got) != 3 || got[0].name != nameBase || got[1].name != nameOff || got[2].name != nameLimited {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := chosen("of"); err == nil {
		t.Error("an unknown variant is accepted")
	}
}

func TestJudge(t *testing.T) {
	stopped := time.Unix(1000, 0)
	at := func(ms int) time.Time { return stopped.Add(time.Duration(ms) * time.Millisecond) }
	got := judge([]answer{
		{begun: at(-90), ended: at(-50), ok: true}, // before: not counted
		{begun: at(-5), ended: at(100)},            // the slowest
		{begun: at(200), ended: at(203)},
		{begun: at(1990), ended: at(2020), ok: true},
		{begun: at(2010), ended: at(2040)}, // the last that is not 200
		{begun: at(2050), ended: at(2060), ok: true},
	}, stopped, at(2000))
	if want := "105 30.0 2 0 40.0"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
