package mint_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/app/mint"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
)

// timeout bounds each step of using Redis.
const timeout = 2 * time.Second

// request returns a request whose times have fractions of a second.
func request() mint.Request {
	return mint.Request{
		Prefix: redisstore.RecordPrefix,
		Secret: strings.Repeat("for tests only, ", 3),
		Limit:  10,
		Routes: []string{"/api/v1/test", "GET /files/*"},
		TTL:    time.Hour + 300*time.Millisecond,
		Now:    time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.FixedZone("", 3600)),
	}
}

func newClient(t *testing.T, mini *miniredis.Miniredis) *redis.Client {
	t.Helper()
	client := mint.NewClient(mini.Addr(), timeout)
	t.Cleanup(func() { client.Close() })
	return client
}

func newToken(t *testing.T, mini *miniredis.Miniredis, r mint.Request) mint.Token {
	t.Helper()
	token, err := mint.New(t.Context(), newClient(t, mini), r)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return token
}

// checkJSON compares JSON after it has replaced the api key, so that a failure
// does not show it.
func checkJSON(t *testing.T, got, apiKey string, want map[string]any) {
	t.Helper()
	if n := strings.Count(got, apiKey); n != 1 {
		t.Fatalf("the api key occurs %d times, want once", n)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(got, apiKey, "KEY")), &members); err != nil {
		t.Fatalf("not a JSON object: %v", err)
	}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	mini := miniredis.RunT(t)
	r := request()
	token := newToken(t, mini, r)
	random, err := base64.RawURLEncoding.Strict().DecodeString(token.APIKey)
	if err != nil || len(random) != 16 || len(token.APIKey) != 22 || !middleware.ValidAPIKey(token.APIKey) {
		t.Error("the api key is not 16 bytes in base64url without padding")
	}
	expires := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) // Now is in a zone an hour ahead of UTC
	if !token.ExpiresAt.Equal(expires) || token.ExpiresAt.Location() != time.UTC {
		t.Errorf("expires at %s, want %s", token.ExpiresAt, expires)
	}
	if token.StorageKey != "token:"+token.APIKey {
		t.Error("the storage key is not token:<api_key>")
	}
	if diff := cmp.Diff(r.Routes, token.Routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if len(mini.Keys()) != 1 || mini.TTL(token.StorageKey) != time.Hour+time.Minute {
		t.Errorf("%d keys, time to live %s: want one that lives a minute longer than the token",
			len(mini.Keys()), mini.TTL(token.StorageKey))
	}
	record, err := mini.Get(token.StorageKey)
	if err != nil {
		t.Fatal("there is no record")
	}
	want := map[string]any{
		"api_key": "KEY", "rate_limit": 10.0, "expires_at": "2026-03-04T05:06:07Z",
		"allowed_routes": []any{"/api/v1/test", "GET /files/*"},
	}
	checkJSON(t, record, token.APIKey, want)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.JWT, ".")[1])
	if err != nil {
		t.Fatal("the JWT's payload is not base64url")
	}
	want["exp"], want["iat"] = float64(expires.Unix()), float64(expires.Add(-time.Hour).Unix())
	checkJSON(t, string(payload), token.APIKey, want)
}

// TestTokenPassesStages checks that the stages accept a new token.
func TestTokenPassesStages(t *testing.T) {
	mini := miniredis.RunT(t)
	r := request()
	token := newToken(t, mini, r)
	at := func(d time.Duration) middleware.Reason {
		now := func() time.Time { return r.Now.Add(d) }
		auth := middleware.NewAuth(middleware.AuthConfig{Algorithm: "HS256", Key: []byte(r.Secret), Now: now})
		client := redisstore.NewClient(redisstore.Options{Addr: mini.Addr(), DialTimeout: timeout, Timeout: timeout})
		defer client.Close()
		store := redisstore.NewRecords(client)
		ex := &middleware.Exchange{Request: httptest.NewRequest(http.MethodHead, "/files/a", nil)}
		ex.Request.Header.Set("Authorization", "Bearer "+token.JWT)
		reason := middleware.ReasonNone
		for _, stage := range []middleware.Stage{auth, middleware.NewTokenLookup(store, now), middleware.RouteCheck{}} {
			reason = stage.Check(t.Context(), ex).Reason
			if reason.Info().Verdict != middleware.Allow {
				return reason
			}
		}
		if ex.Claims.APIKey != token.APIKey || ex.Record.RateLimit != 10 || !ex.Record.ExpiresAt.Equal(token.ExpiresAt) {
			t.Error("the stages read another api key, limit or expiry")
		}
		return reason
	}
	for d, want := range map[time.Duration]middleware.Reason{
		0:                middleware.RouteAllowed,
		59 * time.Minute: middleware.RouteAllowed,
		time.Hour:        middleware.TokenExpired,
	} {
		if got := at(d); got != want {
			t.Errorf("after %s the last stage returned %v, want %v", d, got, want)
		}
	}
	mini.Del(token.StorageKey)
	if got := at(0); got != middleware.TokenUnknown {
		t.Errorf("without the record the last stage returned %v, want %v", got, middleware.TokenUnknown)
	}
}

func TestPrefix(t *testing.T) {
	mini := miniredis.RunT(t)
	r := request()
	r.Prefix = "tenant-a:"
	token := newToken(t, mini, r)
	if token.StorageKey != "tenant-a:"+token.APIKey || !mini.Exists(token.StorageKey) || len(mini.Keys()) != 1 {
		t.Error("the record's key does not have the prefix, or there are other keys")
	}
}

func TestAPIKeysDiffer(t *testing.T) {
	mini := miniredis.RunT(t)
	seen := make(map[string]bool)
	for range 50 {
		seen[newToken(t, mini, request()).APIKey] = true
	}
	if len(seen) != 50 || len(mini.Keys()) != 50 {
		t.Errorf("50 tokens have %d api keys and %d records", len(seen), len(mini.Keys()))
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mint.Request)
		want   []string // parts of the one message
	}{
		"everything": {
			func(r *mint.Request) {
				r.Secret, r.Limit, r.TTL, r.Routes = "short-and-secret", -1, -time.Hour, []string{"/a", "b", "FOO /c", "/*/d"}
			},
			[]string{"secret has 16 bytes", "limit is -1", "ttl is -1h0m0s", `route "b"`, `route "FOO /c"`, `route "/*/d"`},
		},
		"no secret":     {func(r *mint.Request) { r.Secret = "" }, []string{"secret has 0 bytes"}},
		"31 bytes":      {func(r *mint.Request) { r.Secret = r.Secret[:31] }, []string{"secret has 31 bytes"}},
		"no routes":     {func(r *mint.Request) { r.Routes = nil }, []string{"routes are empty"}},
		"zero ttl":      {func(r *mint.Request) { r.TTL = 0 }, []string{"ttl is 0s"}},
		"half a second": {func(r *mint.Request) { r.TTL = time.Second / 2 }, []string{"ttl is 500ms"}},
		"too many routes": {
			func(r *mint.Request) {
				r.Routes = nil
				for i := range 1000 {
					r.Routes = append(r.Routes, fmt.Sprintf("/api/v1/resource/%d", i))
				}
			},
			[]string{"1000 routes make a token of"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mini := miniredis.RunT(t)
			r := request()
			c.change(&r)
			token, err := mint.New(t.Context(), newClient(t, mini), r)
			if err == nil {
				t.Fatal("New returned no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not contain %q", want)
				}
			}
			if r.Secret != "" && strings.Contains(err.Error(), r.Secret) {
				t.Error("the error contains the secret")
			}
			if !cmp.Equal(token, mint.Token{}) || len(mini.Keys()) != 0 {
				t.Error("New returned a token or wrote a record with the error")
			}
		})
	}
}

func TestCheckMinimum(t *testing.T) {
	r := request()
	r.Limit, r.TTL, r.Secret = 0, time.Second, r.Secret[:32]
	if err := r.Check(); err != nil {
		t.Errorf("Check returned %v for the least values", err)
	}
}

func TestRedisDown(t *testing.T) {
	mini := miniredis.RunT(t)
	client := newClient(t, mini)
	mini.Close()
	begin := time.Now()
	token, err := mint.New(t.Context(), client, request())
	if err == nil || !cmp.Equal(token, mint.Token{}) {
		t.Fatal("New returned a token or no error while Redis was down")
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
	if took := time.Since(begin); took > 2*timeout {
		t.Errorf("New took %s, want at most %s", took, 2*timeout)
	}
	if err := mini.Restart(); err != nil {
		t.Fatal(err)
	}
	if len(mini.Keys()) != 0 {
		t.Error("a record was written")
	}
}

// TestErrorsAreRedacted checks that an error does not repeat the arguments of a
// command, which contain the api key.
func TestErrorsAreRedacted(t *testing.T) {
	mini := miniredis.RunT(t)
	client := newClient(t, mini)
	mini.SetError("ERR unknown command 'SET', with args beginning with: 'token:secret-key'")
	_, err := mint.New(t.Context(), client, request())
	if err == nil || strings.Contains(err.Error(), "secret-key") || !strings.Contains(err.Error(), "ERR unknown command") {
		t.Errorf("got %v, want the error without its arguments", err)
	}
}
