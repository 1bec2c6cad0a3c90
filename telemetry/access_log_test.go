package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// logged has the fields of a log line that the tests use.
type logged struct {
	Level      string  `json:"level"`
	Message    string  `json:"msg"`
	Reason     string  `json:"gateway.reason"`
	Stage      string  `json:"gateway.stage"`
	Suppressed int     `json:"gateway.log.suppressed"`
	Error      string  `json:"error"`
	Stack      string  `json:"stack"`
	Duration   float64 `json:"duration"`
}

func (g *gateway) logged(t *testing.T) []logged {
	t.Helper()
	var lines []logged
	for line := range strings.Lines(g.lines.String()) {
		var l logged
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// Many denials with one reason make few log lines. Their counts add up to all
// denials, and other lines are not omitted.
func TestLogLinesAreLimited(t *testing.T) {
	const flood = 10_000
	g := newGateway(t, TracesConfig{}, nil)
	token := g.token(t, "k", 1_000_000, "/a")
	began := time.Now()
	for range flood {
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", ""))
	}
	took := time.Since(began)
	g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/other", token))
	g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", token, "X-Answer", "refuse"))
	for range 3 * linesPerSecond {
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", token))
	}
	lines, accounted, seen := g.accounted(t, flood)
	if accounted != flood {
		t.Errorf("the lines account for %d of %d denials", accounted, flood)
	}
	// The limit allows a burst, ten lines a second and a report each second.
	if most := linesPerSecond + int(took.Seconds()*(linesPerSecond+1)) + 2; lines > most {
		t.Errorf("%d denials in %s made %d lines, want at most %d", flood, took, lines, most)
	}
	want := map[string]int{"info route_not_allowed": 1, "error upstream_unreachable": 1, "debug forwarded": 3 * linesPerSecond}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the log has other lines %v, want %v", seen, want)
	}
	for range 100 { // what was reported once is not reported again
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", ""))
	}
	if _, accounted, _ := g.accounted(t, flood+100); accounted != flood+100 {
		t.Errorf("after more denials the lines account for %d of %d", accounted, flood+100)
	}
}

// The shutdown reports the omitted lines.
func TestFlushReportsOmittedLines(t *testing.T) {
	const flood = 100
	g := newGateway(t, TracesConfig{}, nil)
	for range flood {
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a", ""))
	}
	if err := g.providers.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	accounted := 0
	for _, line := range g.logged(t) {
		accounted += line.Suppressed
		if line.ofRequest(t) {
			accounted++
		}
	}
	if accounted != flood {
		t.Errorf("the lines account for %d of %d denials", accounted, flood)
	}
}

// accounted waits until the log accounts for so many denials. It returns the
// number of their lines, of the denials and of all other lines.
func (g *gateway) accounted(t *testing.T, denials int) (lines, accounted int, seen map[string]int) {
	t.Helper()
	const patience = 20 * time.Second
	for begun := time.Now(); accounted < denials && time.Since(begun) < patience; time.Sleep(10 * time.Millisecond) {
		lines, accounted, seen = 0, 0, map[string]int{}
		for _, line := range g.logged(t) {
			if line.Reason != "credentials_missing" {
				seen[line.Level+" "+line.Reason]++
				continue
			}
			lines++
			accounted += line.Suppressed
			if line.ofRequest(t) {
				accounted++
			}
		}
	}
	return lines, accounted, seen
}

// ofRequest reports whether a line is about a request and not only a count of
// lines that were left out, which has a message of its own.
func (l logged) ofRequest(t *testing.T) bool {
	t.Helper()
	request := l.Message == names.MessageDecision
	if request != (l.Duration > 0) || !request && (l.Message != names.MessageSuppressed || l.Suppressed == 0) {
		t.Errorf("the line is %+v", l)
	}
	return request
}

// An operator who filters by level error must see failures only.
func TestLogLevels(t *testing.T) {
	for _, reason := range middleware.Reasons() {
		info := reason.Info()
		stage := info.Stage
		if stage == middleware.StageAny {
			stage = middleware.StageProxy
		}
		want := map[middleware.Verdict]logrus.Level{
			middleware.Allow: logrus.DebugLevel, middleware.Deny: logrus.InfoLevel,
			middleware.Bypass: logrus.WarnLevel, middleware.Fail: logrus.ErrorLevel,
		}[info.Verdict]
		r := newRig(t, TracesConfig{}, &script{stage, reason})
		r.recorder.lines.log.SetLevel(want)
		r.serveQuietly(t)
		if r.log.Len() == 0 {
			t.Errorf("%s is not written at level %s", reason, want)
		}
		r.log.Reset()
		r.recorder.lines.log.SetLevel(want - 1)
		r.serveQuietly(t)
		if r.log.Len() != 0 {
			t.Errorf("%s is written at level %s", reason, want-1)
		}
	}
}

func (r *rig) serveQuietly(t *testing.T) {
	t.Helper()
	defer func() { _ = recover() }() // of a response that breaks off
	r.handler.ServeHTTP(httptest.NewRecorder(), get(t))
}

// The error in a log line contains no input of clients or backends.
func TestLoggedErrors(t *testing.T) {
	g := newGateway(t, TracesConfig{}, nil)
	token := g.token(t, "k", 100, "/a")
	for _, answer := range []string{"garbage", "panic"} {
		g.handler.ServeHTTP(httptest.NewRecorder(), request(t, untrustedPeer, "/a?secret=secret", token, "X-Answer", answer))
	}
	lines := g.logged(t)
	if len(lines) != 2 || lines[0].Error != "malformed HTTP response …" || lines[1].Error != "panic: value of type string" ||
		!strings.Contains(lines[1].Stack, "goroutine") || lines[0].Stack != "" {
		t.Errorf("lines %+v", lines)
	}
}
