package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tyk_proxy/app/config"
)

// binary is the program, which TestMain builds.
var binary string

// TestMain builds the program, with the race detector if the tests have it.
func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tyk_proxy-e2e")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "tyk_proxy")
	args := []string{"build", "-o", binary}
	if raced() {
		args = append(args, "-race")
	}
	if output, err := exec.CommandContext(context.Background(), "go", append(args, "..")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

const (
	startWithin = 20 * time.Second // generous: the race detector and a busy machine
	stopWithin  = 10 * time.Second // for a stop that has nothing to wait for
)

// program is a gateway process.
type program struct {
	tb      testing.TB
	cmd     *exec.Cmd
	base    string // the gateway's URL
	metrics string // the metrics listener's URL
	stdout  transcript
	stderr  transcript
	ended   chan struct{}
}

// start starts the gateway and waits until it serves.
func start(tb testing.TB, cfg config.Config) *program {
	tb.Helper()
	return startWith(tb, cfg, nil)
}

func startWith(tb testing.TB, cfg config.Config, env []string, flags ...string) *program {
	tb.Helper()
	p := &program{tb: tb, ended: make(chan struct{})}
	p.stderr.serving = make(chan logLine, 1)
	p.cmd = command(context.Background(), env, append(flags, "-config", writeConfig(tb, cfg))...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // tests read the exit code
	}()
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill() // mostly it has ended already
		<-p.ended
	})
	select {
	case line := <-p.stderr.serving:
		p.base, p.metrics = reachable(tb, line.Gateway), reachable(tb, line.Metrics)
	case <-p.ended:
		tb.Fatalf("the gateway ended with exit code %d:\n%s", p.cmd.ProcessState.ExitCode(), p.stderr.String())
	case <-time.After(startWithin):
		tb.Fatalf("the gateway does not serve within %s:\n%s", startWithin, p.stderr.String())
	}
	return p
}

// reachable returns the loopback URL of a listener on all interfaces.
func reachable(tb testing.TB, addr string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return "http://127.0.0.1:" + port
}

func (p *program) signal(sig os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.tb.Fatal(err)
	}
}

// wantExit waits until the program ends and returns how long it waited.
func (p *program) wantExit(code int, within time.Duration) time.Duration {
	p.tb.Helper()
	begun := time.Now()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.tb.Fatalf("the program still runs after %s:\n%s", within, p.stderr.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.tb.Errorf("exit code %d, want %d:\n%s", got, code, p.stderr.String())
	}
	return time.Since(begun)
}

// logged returns the values of a field of all log lines.
func (p *program) logged(field string) []string {
	var values []string
	for line := range strings.Lines(p.stderr.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue
		}
		if value, ok := fields[field].(string); ok {
			values = append(values, value)
		}
	}
	return values
}

// ending is the result of a program that was run to its end.
type ending struct {
	code           int
	stdout, stderr string
}

func runOnce(tb testing.TB, env []string, args ...string) ending {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := command(ctx, env, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return ending{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// command returns the program with an environment that has only env for it.
func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "TYK_PROX_") || strings.HasPrefix(entry, "OTEL_")
	})
	// By default the race detector sleeps a second before each exit.
	cmd.Env = append(append(cmd.Env, "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}

// transcript stores the output of a program and sends the log line "serving".
type transcript struct {
	serving chan logLine // nil if the line is not needed

	mu   sync.Mutex
	text []byte
	done int // of text, up to here
}

type logLine struct {
	Message string `json:"msg"`
	Gateway string `json:"gateway"`
	Metrics string `json:"metrics"`
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	for t.serving != nil {
		end := bytes.IndexByte(t.text[t.done:], '\n')
		if end < 0 {
			return len(p), nil
		}
		var line logLine
		if json.Unmarshal(t.text[t.done:t.done+end], &line) == nil && line.Message == "serving" {
			t.serving <- line
		}
		t.done += end + 1
	}
	return len(p), nil
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// testConfig is a configuration on free ports, with a random secret and
// without a drain delay.
func testConfig(redis, target string) config.Config {
	cfg := config.Default()
	cfg.Application.TargetHost, cfg.Application.Port = target, 0
	cfg.Application.Token.JWTSecret = config.Secret(rand.Text() + rand.Text())
	cfg.ServerTimeouts.DrainDelay = 0
	cfg.Redis.Addr = redis
	// A slow machine must not cause timeouts.
	cfg.Redis.Timeout = config.Duration(500 * time.Millisecond)
	cfg.RateLimit.Window = config.Duration(24 * time.Hour) // no test runs across its end, except at midnight
	cfg.Log = config.Log{Level: "Debug", Format: "json"}
	cfg.Monitoring.IP, cfg.Monitoring.Port = "127.0.0.1", 0
	return cfg
}

func writeConfig(tb testing.TB, cfg config.Config) string {
	tb.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return writeText(tb, "config.json", string(text))
}

func writeText(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// eventually polls until the condition is true.
func eventually(tb testing.TB, within time.Duration, what string, yes func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if yes() {
			return
		}
	}
	tb.Fatalf("not within %s: %s", within, what)
}
