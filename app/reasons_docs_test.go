package app

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/middleware"
)

// update rewrites the README's table instead of comparing it.
var update = flag.Bool("update", false, "rewrite the README's table of reasons")

const (
	readmeFile   = "../README.md"
	reasonsBegin = "<!-- reasons:begin -->\n"
	reasonsEnd   = "<!-- reasons:end -->"
)

// The README's table of reasons is generated from the program's table.
func TestReasonsInREADME(t *testing.T) {
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	before, rest, begun := strings.Cut(readme, reasonsBegin)
	_, after, ended := strings.Cut(rest, reasonsEnd)
	if !begun || !ended {
		t.Fatalf("%s lacks the markers %q and %q", readmeFile, reasonsBegin, reasonsEnd)
	}
	want := before + reasonsBegin + reasonsTable() + reasonsEnd + after
	switch {
	case readme == want:
	case *update:
		if err := os.WriteFile(readmeFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is out of date; run: go test ./app -run %s -update\n(-file +generated)\n%s",
			readmeFile, t.Name(), cmp.Diff(strings.Split(readme, "\n"), strings.Split(want, "\n")))
	}
}

// Every reason can be documented.
func TestReasonsAreDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, reason := range middleware.Reasons() {
		info := reason.Info()
		if info.Name == "" || seen[info.Name] || info.Stage == "" || info.Verdict.String() == "unknown" {
			t.Errorf("reason %d has no name, stage or verdict of its own: %+v", reason, info)
		}
		if !strings.HasSuffix(info.Title, ".") || strings.Contains(info.Title, "|") {
			t.Errorf("%s: the title %q is not a sentence", info.Name, info.Title)
		}
		seen[info.Name] = true
	}
}

func reasonsTable() string {
	var b strings.Builder
	b.WriteString("| Reason | Stage | Verdict | Status | Meaning |\n|---|---|---|---|---|\n")
	for _, reason := range middleware.Reasons() {
		info := reason.Info()
		stage, status := "`"+info.Stage+"`", "–"
		if info.Stage == middleware.StageAny {
			stage = "any"
		}
		if info.Status != 0 {
			status = strconv.Itoa(info.Status)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", info.Name, stage, info.Verdict, status, info.Title)
	}
	return b.String()
}
