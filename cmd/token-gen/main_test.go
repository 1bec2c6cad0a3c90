package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware/storetest"
)

// runMain is the environment variable with which the test binary runs the program.
const runMain = "TYK_PROXY_TEST_RUN_MAIN"

// runWithin is longer than every timeout of the program.
const runWithin = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main() // calls os.Exit
	}
	os.Exit(m.Run())
}

// ending is how a run of the program ended.
type ending struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// runProgram runs the program in a process of its own.
func runProgram(tb testing.TB, args ...string) ending {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runWithin)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	// The race detector would sleep a second before each exit.
	cmd.Env = append(os.Environ(), runMain+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begun := time.Now()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return ending{
		code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(), took: time.Since(begun),
	}
}

// eachRedis runs a test on miniredis and on a real Redis.
func eachRedis(t *testing.T, test func(t *testing.T, addr string)) {
	t.Run("miniredis", func(t *testing.T) { test(t, miniredis.RunT(t).Addr()) })
	t.Run("redis-server", func(t *testing.T) { test(t, storetest.StartRedis(t).Addr) })
}

func client(tb testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr})
	tb.Cleanup(func() { _ = c.Close() }) // nothing was buffered
	return c
}

// newSecret returns a random secret, which no output may contain.
func newSecret() string { return rand.Text() + rand.Text() }

// TestFlags checks the names, types and defaults of the flags, on which scripts
// depend.
func TestFlags(t *testing.T) {
	end := runProgram(t, "-help")
	if end.code != 0 || end.stdout != "" {
		t.Errorf("-help: exit code %d, stdout %q; want 0 and usage on stderr", end.code, end.stdout)
	}
	shown := regexp.MustCompile(`(?m)^  (-.*)\n.*?(?:\((default .*)\))?$`).FindAllStringSubmatch(end.stderr, -1)
	got := make([]string, 0, len(shown))
	for _, found := range shown {
		got = append(got, strings.TrimSpace(found[1]+" "+found[2]))
	}
	want := []string{
		`-limit int default 10`,
		`-prefix string default "token:"`,
		`-redis string default "localhost:6379"`,
		`-routes string default "/api/v1/test,/api/v1/test2,"`,
		`-secret string`,
		`-ttl duration default 24h0m0s`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestBadCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-no-such-flag"}, {"-limit", "ten"}, {"-ttl", "1"}, {"mint"}} {
		if end := runProgram(t, args...); end.code != 2 || end.stderr == "" || end.stdout != "" {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want 2 and an explanation", args, end.code, end.stdout, end.stderr)
		}
	}
}

// TestRefusals checks that a refusal is one line, and that nothing is written.
func TestRefusals(t *testing.T) {
	eachRedis(t, func(t *testing.T, addr string) {
		secret := newSecret()
		for name, args := range map[string][]string{
			"-secret is missing":      {},
			"HS256 needs at least 32": {"-secret", secret[:31]},
			"ttl is -1h0m0s":          {"-secret", secret, "-ttl", "-1h"},
			"ttl is 0s":               {"-secret", secret, "-ttl", "0"},
			"ttl is 999ms":            {"-secret", secret, "-ttl", "999ms"},
			"limit is -1":             {"-secret", secret, "-limit", "-1"},
			"routes are empty":        {"-secret", secret, "-routes", ""},
			"routes are empty: name":  {"-secret", secret, "-routes", " , ,,"},
			`route "api" is not`:      {"-secret", secret, "-routes", "/api,api"},
			`route "/a/../b" is not`:  {"-secret", secret, "-routes", "/a/../b"},
			`method "FETCH" is not`:   {"-secret", secret, "-routes", "FETCH /a"},
			"limit is -1: use 0 or more requests per window; ttl": {"-secret", secret, "-limit", "-1", "-ttl", "-1s"},
		} {
			end := runProgram(t, append(args, "-redis", addr)...)
			checkRefusal(t, end, name, secret[:31])
		}
		if left := client(t, addr).DBSize(context.Background()).Val(); left != 0 {
			t.Errorf("refused requests left %d keys", left)
		}
	})
}

func checkRefusal(t *testing.T, end ending, want, secret string) {
	t.Helper()
	if end.code != 1 || end.stdout != "" {
		t.Errorf("%s: exit code %d and %d bytes on stdout, want 1 and none", want, end.code, len(end.stdout))
	}
	if !strings.HasPrefix(end.stderr, "token_gen: ") || strings.Count(end.stderr, "\n") != 1 || !strings.Contains(end.stderr, want) {
		t.Errorf("stderr %q, want one line with %q", end.stderr, want)
	}
	if strings.Contains(end.stderr, secret) {
		t.Error("stderr contains the secret")
	}
}

// TestGatewayPort checks that the printed command uses the port that compose
// publishes.
func TestGatewayPort(t *testing.T) {
	addr, secret := miniredis.RunT(t).Addr(), newSecret()
	for port, want := range map[string]string{"": ":8080/", "18080": ":18080/"} {
		t.Setenv("GATEWAY_PORT", port)
		if m := mintToken(t, "-secret", secret, "-redis", addr); !strings.Contains(m.curl, "http://localhost"+want) {
			t.Errorf("GATEWAY_PORT=%s: the command does not use %s", port, want)
		}
	}
	t.Setenv("GATEWAY_PORT", "tcp://10.0.0.1:80")
	end := runProgram(t, "-secret", secret, "-redis", addr)
	if end.code != 0 || !strings.Contains(end.stdout, "http://localhost:8080/") || !strings.Contains(end.stderr, "GATEWAY_PORT is ") {
		t.Errorf("exit code %d, stderr %q; want a token, a warning, and 8080", end.code, end.stderr)
	}
}

// What the command line leaves out comes from .env and the gateway's
// configuration: what `make gen` relies on.
func TestDotEnv(t *testing.T) {
	redis := miniredis.RunT(t)
	secret, another := newSecret(), newSecret()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		".env":        "REDIS_PORT='" + redis.Port() + "' # moved\nexport GATEWAY_PORT=18080\r\n",
		"config.json": `{"application":{"token":{"jwt_secret":"` + secret + `\n"}}}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkRefusal(t, runProgram(t), "-secret is missing", secret)
	t.Setenv("GATEWAY_CONFIG", "config.json")
	check := func(name, want string) {
		m := mintToken(t)
		_, err := jwt.Parse(m.jwt, func(*jwt.Token) (any, error) { return []byte(want), nil })
		if err != nil || !strings.Contains(m.curl, "http://localhost:18080/") || !redis.Exists(m.storageKey) {
			t.Errorf("%s: the token does not verify (%v), or is not where .env says", name, err)
		}
	}
	check("the configuration", secret)
	t.Setenv("TYK_PROX_APPLICATION__TOKEN__JWT_SECRET", another)
	check("the environment", another)
	t.Setenv("GATEWAY_CONFIG", "none.json")
	checkRefusal(t, runProgram(t), `"none.json": cannot be read`, another)
	if err := os.WriteFile(".env", []byte("X='"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, runProgram(t), ".env: cannot be read", secret)
}

// TestRedisFaults has a Redis that is down, silent, protected or full.
func TestRedisFaults(t *testing.T) {
	secret := newSecret()
	mintAt := func(addr string) ending { return runProgram(t, "-secret", secret, "-redis", addr) }
	for _, addr := range []string{"", "localhost", "localhost:", "redis://localhost:6379/0"} {
		checkRefusal(t, mintAt(addr), "want host:port, such as localhost:6379", secret)
	}
	t.Run("down", func(t *testing.T) {
		redis := storetest.StartRedis(t)
		redis.Stop()
		checkRefusal(t, mintAt(redis.Addr), "(-redis "+redis.Addr+")", secret)
	})
	t.Run("silent", func(t *testing.T) {
		redis := storetest.StartRedis(t)
		redis.Pause()
		end := mintAt(redis.Addr)
		checkRefusal(t, end, "(-redis "+redis.Addr+")", secret)
		if end.took > timeout+2*time.Second {
			t.Errorf("the program took %s, want at most %s", end.took, timeout)
		}
	})
	t.Run("password", func(t *testing.T) {
		checkRefusal(t, mintAt(storetest.StartRedis(t, "--requirepass", "secret").Addr), "NOAUTH", secret)
	})
	t.Run("full", func(t *testing.T) {
		redis := storetest.StartRedis(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
		checkRefusal(t, mintAt(redis.Addr), "OOM", secret)
		if left := client(t, redis.Addr).DBSize(context.Background()).Val(); left != 0 {
			t.Errorf("the failure left %d keys", left)
		}
	})
	t.Run("no address", func(t *testing.T) {
		checkRefusal(t, mintAt("nowhere"), `-redis is "nowhere"`, secret)
	})
}
