package app

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logged "github.com/sirupsen/logrus/hooks/test"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/redisstore"
)

// readinessLines returns the log lines about readiness, in order.
func readinessLines(hook *logged.Hook) []string {
	lines := []string{}
	for _, entry := range hook.AllEntries() {
		if entry.Message != "ready" && entry.Message != "not ready" {
			continue
		}
		line := entry.Level.String() + " " + entry.Message
		if reason, ok := entry.Data["reason"].(string); ok {
			line += " " + reason
		}
		lines = append(lines, line)
	}
	return lines
}

const (
	readyLine    = "info ready"
	notReadyLine = "warning not ready store_unavailable"
)

func TestReadinessIsLoggedOnce(t *testing.T) {
	down := errors.New("down")
	type check struct {
		asked, answered int // milliseconds
		err             error
	}
	for name, row := range map[string]struct {
		checks []check
		want   []string
	}{
		"steady":    {[]check{{0, 1, nil}, {2000, 2001, nil}}, []string{readyLine}},
		"changes":   {[]check{{0, 1, down}, {9, 10, down}, {2000, 2001, nil}}, []string{notReadyLine, readyLine}},
		"overtaken": {[]check{{5000, 5001, nil}, {4000, 7000, down}}, []string{readyLine}},
		"flapping":  {[]check{{0, 1, nil}, {10, 11, down}, {20, 21, nil}, {30, 31, down}}, []string{readyLine}},
		"late news": {[]check{{0, 1, nil}, {10, 11, down}, {2000, 2001, down}}, []string{readyLine, notReadyLine}},
	} {
		logger, hook := logged.NewNullLogger()
		r := readiness{log: logger}
		for _, c := range row.checks {
			r.note(time.UnixMilli(int64(c.asked)), time.UnixMilli(int64(c.answered)), c.err)
		}
		if diff := cmp.Diff(row.want, readinessLines(hook)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The log has one line for an outage and one for its end, for any number of
// concurrent probes.
func TestReadinessChangesAreLogged(t *testing.T) {
	redis := miniredis.RunT(t)
	logger, hook := logged.NewNullLogger()
	r := startLogged(t, testConfig(redis.Addr(), backend(t)), logger)
	awaitReadiness(t, hook, func() {}, readyLine) // without a probe

	probes := func() {
		var probing sync.WaitGroup
		for range 20 {
			probing.Go(func() { r.get(r.gateway+"/ready", "") })
		}
		probing.Wait()
	}
	redis.Close()
	awaitReadiness(t, hook, probes, readyLine, notReadyLine)
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	awaitReadiness(t, hook, probes, readyLine, notReadyLine, readyLine)
	r.want(r.gateway+"/ready", "", http.StatusOK, "")
	r.stop()
	if diff := cmp.Diff([]string{readyLine, notReadyLine, readyLine}, readinessLines(hook)); diff != "" {
		t.Errorf("after the stop (-want +got):\n%s", diff)
	}
}

// A start without Redis is logged and not delayed.
func TestStartWithoutRedisIsLogged(t *testing.T) {
	logger, hook := logged.NewNullLogger()
	r := startLogged(t, testConfig("127.0.0.1:1", backend(t)), logger)
	r.want(r.gateway+"/health", "", http.StatusOK, "")
	awaitReadiness(t, hook, func() {}, notReadyLine)
	for _, entry := range hook.AllEntries() {
		if entry.Message == "not ready" && entry.Data[logrus.ErrorKey] == nil {
			t.Error("the line does not say what Redis' error is")
		}
	}
	if got := r.get(r.gateway+"/ready", ""); got.status != http.StatusServiceUnavailable ||
		got.reason != notReadyStore || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %q %v", got.status, got.reason, got.header)
	}
}

// A check that the stop interrupts is not an outage.
func TestCheckDuringStopIsNotLogged(t *testing.T) {
	cfg := testConfig("127.0.0.1:1", "http://127.0.0.1:1")
	options, err := redisOptions(cfg.Redis)
	if err != nil {
		t.Fatal(err)
	}
	client := redisstore.NewClient(options)
	defer client.Close()
	logger, hook := logged.NewNullLogger()
	g := &Gateway{cfg: cfg, redis: client, readiness: readiness{log: logger}}
	g.draining.Store(true)
	if g.checkStore(t.Context()) == nil {
		t.Error("checkStore succeeds without Redis")
	}
	if lines := readinessLines(hook); len(lines) > 0 {
		t.Errorf("logged %q", lines)
	}
}

// The start and the end of an outage are logged once each.
func TestSilentRedisIsLogged(t *testing.T) {
	redis := miniredis.RunT(t)
	logger, hook := logged.NewNullLogger()
	r := startLogged(t, testConfig(redis.Addr(), backend(t)), logger)
	if err := r.g.redis.Available(); err != nil {
		t.Fatal(err)
	}
	lines := func() (lines []string) {
		for _, entry := range hook.AllEntries() {
			if strings.HasPrefix(entry.Message, "Redis") {
				lines = append(lines, entry.Level.String()+" "+entry.Message)
			}
		}
		return lines
	}
	record(t, redis)
	token := sign(t, jwt.SigningMethodHS256, []byte(config.DemoSecret))
	await := func(status int, want ...string) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			got := r.get(r.gateway+"/api/v1/test", token)
			diff := cmp.Diff(want, lines())
			if got.status == status && diff == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("status %d, want %d; log (-want +got):\n%s", got.status, status, diff)
			}
		}
	}
	await(http.StatusOK)
	redis.Close()
	await(http.StatusServiceUnavailable, "warning Redis is silent")
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	await(http.StatusOK, "warning Redis is silent", "info Redis answers again")
}

func awaitReadiness(t *testing.T, hook *logged.Hook, probe func(), want ...string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		probe()
		diff := cmp.Diff(want, readinessLines(hook))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}
