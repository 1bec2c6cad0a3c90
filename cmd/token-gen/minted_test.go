package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"tyk_proxy/app"
	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// minted is the output of the program, line by line.
type minted struct {
	apiKey, storageKey, jwt, expiresAt, routes, curl string
}

// mintToken runs the program and checks every line of its output.
func mintToken(t *testing.T, args ...string) minted {
	t.Helper()
	end := runProgram(t, args...)
	if end.code != 0 || end.stderr != "" {
		t.Fatalf("exit code %d, stderr %q; want 0 and nothing", end.code, end.stderr)
	}
	var m minted
	lines := strings.Split(end.stdout, "\n")
	want := []struct {
		prefix string
		value  *string
	}{
		{"Token created successfully!", nil},
		{"api_key: ", &m.apiKey},
		{"storage_key: ", &m.storageKey},
		{"jwt: ", &m.jwt},
		{"expires_at: ", &m.expiresAt},
		{"allowed routes: ", &m.routes},
		{"curl example:", nil},
		{"", &m.curl},
		{"", nil}, // after the last newline
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines on stdout, want %d", len(lines), len(want))
	}
	for i, w := range want {
		value, ok := strings.CutPrefix(lines[i], w.prefix)
		if !ok || w.value == nil && value != "" {
			t.Fatalf("line %d does not begin with %q", i+1, w.prefix)
		}
		if w.value != nil {
			*w.value = value
		}
	}
	return m
}

// record has the members of a record, spelled out because other programs depend on
// them.
type record struct {
	APIKey    string   `json:"api_key"`
	RateLimit int64    `json:"rate_limit"`
	ExpiresAt string   `json:"expires_at"`
	Routes    []string `json:"allowed_routes"`
}

func TestMinted(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		prefix string
		limit  int64
		ttl    time.Duration
		routes []string
		shown  string // of the routes
		curl   string // after the token
	}{
		"defaults": {
			prefix: "token:", limit: 10, ttl: 24 * time.Hour, routes: []string{"/api/v1/test", "/api/v1/test2"},
			shown: `["/api/v1/test","/api/v1/test2"]`, curl: "' 'http://localhost:8080/api/v1/test'",
		},
		"all flags": {
			args:   []string{"-limit", "0", "-prefix", "other:", "-ttl", "90s", "-routes", ",POST /a b, ,,/c/*,"},
			prefix: "other:", limit: 0, ttl: 90 * time.Second, routes: []string{"POST /a b", "/c/*"},
			shown: `["POST /a b","/c/*"]`, curl: "' 'http://localhost:8080/a%20b'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, addr string) {
				secret, begun := newSecret(), time.Now().UTC().Truncate(time.Second)
				m := mintToken(t, append(test.args, "-secret", secret, "-redis", addr)...)
				ended := time.Now()

				random, err := base64.RawURLEncoding.Strict().DecodeString(m.apiKey)
				if err != nil || len(random) != 16 {
					t.Errorf("api_key has %d bytes, %v; want 16 in unpadded base64url", len(random), err)
				}
				if m.storageKey != test.prefix+m.apiKey || m.routes != test.shown {
					t.Errorf("storage_key or routes are wrong: routes %s, want %s", m.routes, test.shown)
				}
				if !strings.HasPrefix(m.curl, "curl ") || !strings.HasSuffix(m.curl, "-H 'Authorization: Bearer "+m.jwt+test.curl) {
					t.Errorf("the curl command does not send the token to %s", test.curl)
				}
				expires, err := time.Parse("2006-01-02T15:04:05Z", m.expiresAt)
				if err != nil || expires.Before(begun.Add(test.ttl)) || expires.After(ended.Add(test.ttl)) {
					t.Errorf("expires_at %q, %v; want %s from now", m.expiresAt, err, test.ttl)
				}
				want := record{APIKey: m.apiKey, RateLimit: test.limit, ExpiresAt: m.expiresAt, Routes: test.routes}
				checkRecord(t, addr, m, want, test.ttl)
				checkJWT(t, m.jwt, secret, want, expires, test.ttl)
			})
		})
	}
}

// checkRecord checks the only key in Redis.
func checkRecord(t *testing.T, addr string, m minted, want record, ttl time.Duration) {
	t.Helper()
	ctx, redis := context.Background(), client(t, addr)
	if keys := redis.DBSize(ctx).Val(); keys != 1 {
		t.Errorf("Redis has %d keys, want 1", keys)
	}
	text, err := redis.Get(ctx, m.storageKey).Bytes()
	if err != nil {
		t.Fatal("the record is not under the storage key")
	}
	var got record
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(want, got) {
		t.Error("the record differs from the output")
	}
	ttl += time.Minute // the largest leeway
	if left := redis.PTTL(ctx, m.storageKey).Val(); left > ttl || left < ttl-10*time.Second {
		t.Errorf("the record lives %s, want %s", left, ttl)
	}
}

func checkJWT(t *testing.T, text, secret string, want record, expires time.Time, ttl time.Duration) {
	t.Helper()
	var claims struct {
		record
		jwt.RegisteredClaims
	}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuedAt(), jwt.WithExpirationRequired()).
		ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return []byte(secret), nil })
	if err != nil {
		t.Fatalf("the JWT does not verify with the secret: %v", err)
	}
	if !cmp.Equal(want, claims.record) {
		t.Error("the JWT's claims differ from the record")
	}
	issued := claims.IssuedAt
	if !claims.RegisteredClaims.ExpiresAt.Equal(expires) || issued == nil || !issued.Equal(expires.Add(-ttl)) {
		t.Errorf("the JWT is from %s to %s, want to end at %s after %s", issued, claims.RegisteredClaims.ExpiresAt, expires, ttl)
	}
}

func TestKeysDiffer(t *testing.T) {
	addr, secret := storetest.StartRedis(t).Addr, newSecret()
	first, second := mintToken(t, "-secret", secret, "-redis", addr), mintToken(t, "-secret", secret, "-redis", addr)
	if first.apiKey == second.apiKey {
		t.Error("two tokens have the same api key")
	}
}

// TestMintedTokenWorks checks that a gateway with the same secret and Redis accepts
// the token, and that one with another secret does not.
func TestMintedTokenWorks(t *testing.T) {
	addr, secret := storetest.StartRedis(t).Addr, newSecret()
	token := mintToken(t, "-secret", secret, "-redis", addr, "-limit", "1", "-routes", "GET /files/*")
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(upstream.Close)
	gateway := startGateway(t, upstream.URL, addr, secret)
	other := startGateway(t, upstream.URL, addr, newSecret())
	for _, step := range []struct {
		url    string
		status int
	}{
		{other + "/files/a", http.StatusUnauthorized},
		{gateway + "/files", http.StatusForbidden},
		{gateway + "/files/a", http.StatusOK},
		{gateway + "/files/a", http.StatusTooManyRequests},
	} {
		request, err := http.NewRequest(http.MethodGet, step.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token.jwt)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != step.status {
			t.Errorf("%s: %d, want %d", step.url, response.StatusCode, step.status)
		}
	}
}

// startGateway runs a gateway in this process and returns its URL.
func startGateway(t *testing.T, upstream, redis, secret string) string {
	t.Helper()
	cfg := config.Default()
	cfg.Application.TargetHost, cfg.Application.Port, cfg.Monitoring.Port = upstream, 0, 0
	cfg.Application.Token.JWTSecret = config.Secret(secret)
	cfg.Redis.Addr, cfg.Redis.Timeout = redis, config.Duration(time.Second)
	cfg.RateLimit.Window = config.Duration(24 * time.Hour) // so that no window ends during the test, except at midnight
	cfg.Log = config.Log{Level: "Info", Format: "json"}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	log, signals, ended := &servingLine{addr: make(chan string, 1)}, make(chan os.Signal, 1), make(chan error, 1)
	go func() {
		ended <- app.Run(context.Background(), app.Options{ConfigPath: file, Stderr: log}, signals)
	}()
	select {
	case addr := <-log.addr:
		t.Cleanup(func() {
			signals <- syscall.SIGINT
			if err := <-ended; err != nil {
				t.Errorf("the gateway ended with: %v", err)
			}
		})
		return "http://127.0.0.1" + addr[strings.LastIndex(addr, ":"):]
	case err := <-ended:
		t.Fatalf("the gateway did not start: %v", err)
		return ""
	}
}

// servingLine finds the gateway's address in its log, which comes in batches of
// lines.
type servingLine struct{ addr chan string }

func (s *servingLine) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		var serving struct {
			Gateway string `json:"gateway"`
		}
		if bytes.Contains(line, []byte(`"msg":"serving"`)) && json.Unmarshal(line, &serving) == nil {
			s.addr <- serving.Gateway
		}
	}
	return len(lines), nil
}
