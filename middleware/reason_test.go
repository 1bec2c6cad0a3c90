package middleware

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestEveryReasonIsProduced checks that the tests' tables have a row for each
// reason; the test of the table checks that a stage returns it.
func TestEveryReasonIsProduced(t *testing.T) {
	authReason := func(r authRow) Reason { return r.want }
	produced := slices.Concat(
		reasonsOf(bearerRows(), authReason),
		reasonsOf(headerRows(), authReason),
		reasonsOf(claimRows(), authReason),
		reasonsOf(lookupRows(), func(r lookupRow) Reason { return r.want }),
		reasonsOf(routeRows(), func(r routeRow) Reason { return r.want }),
		reasonsOf(limitRows(), func(r limitRow) Reason { return r.want }),
		reasonsOf(panicRows(), func(r panicRow) Reason { return r.want }),
		reasonsOf(upstreamRows(), func(r upstreamRow) Reason { return r.want }),
		reasonsOf(viaRows(), func(r viaRow) Reason { return r.want }),
		reasonsOf(fieldsRows(), func(r fieldsRow) Reason { return r.want }),
		reasonsOf(bodyRows(), func(r bodyRow) Reason { return r.want }),
		reasonsOf(abortRows(), func(r abortRow) Reason { return r.want }),
		reasonsOf(shutdownRows(), func(r shutdownRow) Reason { return r.want }),
	)
	for _, reason := range Reasons() {
		if !slices.Contains(produced, reason) {
			t.Errorf("no row of a table expects %s", reason)
		}
	}
}

// TestReasonTable checks that each reason has a complete row and a unique name.
func TestReasonTable(t *testing.T) {
	names := map[string]bool{}
	for _, reason := range Reasons() {
		info := reason.Info()
		if info.Name == "" || names[info.Name] || strings.ToLower(info.Name) != info.Name {
			t.Errorf("reason %d is named %q", reason, info.Name)
		}
		names[info.Name] = true
		if info.Stage != StageAny && !slices.Contains(StageNames(), info.Stage) {
			t.Errorf("%s belongs to stage %q", reason, info.Stage)
		}
		if info.Title == "" || strings.ContainsAny(info.Title, "\"\\\r\n") {
			t.Errorf("%s: the title %q cannot be part of a quoted string", reason, info.Title)
		}
		if bearer := info.Bearer != ""; bearer && info.Status != http.StatusUnauthorized {
			t.Errorf("%s has a bearer error but status %d", reason, info.Status)
		}
		checkVerdict(t, reason)
	}
	if got := ReasonNone.String() + reasonCount.String() + Reason(255).String(); got != "" {
		t.Errorf("an invalid reason has the name %q", got)
	}
	if o := (Outcome{}); o.Proceeds() || o.Verdict().String() != "unknown" {
		t.Errorf("the zero outcome proceeds with verdict %q", o.Verdict())
	}
}

func checkVerdict(t *testing.T, reason Reason) {
	t.Helper()
	switch info := reason.Info(); info.Verdict {
	case Allow, Bypass:
		if info.Status != 0 || !(Outcome{Reason: reason}).Proceeds() {
			t.Errorf("%s lets the request go on and has status %d", reason, info.Status)
		}
	case Deny:
		if info.Status < 400 || info.Status > 499 || (Outcome{Reason: reason}).Proceeds() {
			t.Errorf("%s denies with status %d", reason, info.Status)
		}
	case Fail:
		if info.Status < 500 || info.Status > 599 || (Outcome{Reason: reason}).Proceeds() {
			t.Errorf("%s fails with status %d", reason, info.Status)
		}
	default:
		t.Errorf("%s has no verdict", reason)
	}
}

func TestVerdictNames(t *testing.T) {
	for verdict, want := range map[Verdict]string{Allow: "allow", Deny: "deny", Fail: "fail", Bypass: "bypass", 0: "unknown"} {
		if got := verdict.String(); got != want {
			t.Errorf("verdict %d is named %q, want %q", verdict, got, want)
		}
	}
}

// reasonsOf collects what the rows of a table expect.
func reasonsOf[R any](rows []R, want func(R) Reason) []Reason {
	reasons := make([]Reason, 0, len(rows))
	for _, row := range rows {
		reasons = append(reasons, want(row))
	}
	return reasons
}
