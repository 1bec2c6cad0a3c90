package redisstore_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
)

// mintRequest asks for a token that lives an hour from a moment with a
// fraction of a second.
func mintRequest() redisstore.MintRequest {
	return redisstore.MintRequest{
		Prefix: redisstore.TokenPrefix,
		Secret: strings.Repeat("for tests only, ", 3),
		Limit:  10,
		Routes: []string{"/api/v1/test", "GET /files/*"},
		TTL:    time.Hour + 300*time.Millisecond,
		Now:    time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.FixedZone("", 3600)),
	}
}

func mint(t *testing.T, mini *miniredis.Miniredis, r redisstore.MintRequest) redisstore.Minted {
	t.Helper()
	minted, err := redisstore.Mint(t.Context(), newAdmin(t, mini.Addr()), r)
	if err != nil {
		t.Fatalf("minting: %v", err)
	}
	return minted
}

// sameJSON compares JSON with the api key and the secret taken out, so that a
// failure shows neither.
func sameJSON(t *testing.T, got, apiKey string, want map[string]any) {
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

func TestMint(t *testing.T) {
	mini := miniredis.RunT(t)
	request := mintRequest()
	minted := mint(t, mini, request)
	random, err := base64.RawURLEncoding.Strict().DecodeString(minted.APIKey)
	if err != nil || len(random) != 16 || len(minted.APIKey) != 22 || !middleware.ValidAPIKey(minted.APIKey) {
		t.Error("the api key is not 16 bytes in base64url without padding")
	}
	expires := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) // Now is an hour ahead of UTC
	if !minted.ExpiresAt.Equal(expires) || minted.ExpiresAt.Location() != time.UTC {
		t.Errorf("expires at %s, want %s", minted.ExpiresAt, expires)
	}
	if minted.StorageKey != "token:"+minted.APIKey {
		t.Error("the storage key is not token:<api_key>")
	}
	if diff := cmp.Diff(request.Routes, minted.Routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if len(mini.Keys()) != 1 || mini.TTL(minted.StorageKey) != time.Hour {
		t.Errorf("%d keys, time to live %s: want one that lives as long as the token",
			len(mini.Keys()), mini.TTL(minted.StorageKey))
	}
	record, err := mini.Get(minted.StorageKey)
	if err != nil {
		t.Fatal("there is no record")
	}
	want := map[string]any{
		"api_key": "KEY", "rate_limit": 10.0, "expires_at": "2026-03-04T05:06:07Z",
		"allowed_routes": []any{"/api/v1/test", "GET /files/*"},
	}
	sameJSON(t, record, minted.APIKey, want)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(minted.JWT, ".")[1])
	if err != nil {
		t.Fatal("the JWT's payload is not base64url")
	}
	want["exp"], want["iat"] = float64(expires.Unix()), float64(expires.Add(-time.Hour).Unix())
	sameJSON(t, string(payload), minted.APIKey, want)
}

// TestMintedTokenWorks: what Mint writes, the stages read.
func TestMintedTokenWorks(t *testing.T) {
	mini := miniredis.RunT(t)
	request := mintRequest()
	minted := mint(t, mini, request)
	at := func(d time.Duration) middleware.Reason {
		now := func() time.Time { return request.Now.Add(d) }
		auth := middleware.NewAuth(middleware.AuthConfig{Algorithm: "HS256", Key: []byte(request.Secret), Now: now})
		store := redisstore.NewTokens(newClient(t, options(mini.Addr(), patience)))
		ex := &middleware.Exchange{Request: httptest.NewRequest(http.MethodHead, "/files/a", nil)}
		ex.Request.Header.Set("Authorization", "Bearer "+minted.JWT)
		reason := middleware.ReasonNone
		for _, stage := range []middleware.Stage{auth, middleware.NewTokenLookup(store, now), middleware.RouteCheck{}} {
			reason = stage.Check(t.Context(), ex).Reason
			if reason.Info().Verdict != middleware.Allow {
				return reason
			}
		}
		if ex.Claims.APIKey != minted.APIKey || ex.Token.RateLimit != 10 || !ex.Token.ExpiresAt.Equal(minted.ExpiresAt) {
			t.Error("the stages read another api key, limit or expiry than was minted")
		}
		return reason
	}
	for d, want := range map[time.Duration]middleware.Reason{
		0:                middleware.RouteAllowed,
		59 * time.Minute: middleware.RouteAllowed,
		time.Hour:        middleware.TokenExpired,
	} {
		if got := at(d); got != want {
			t.Errorf("after %s the token is %v, want %v", d, got, want)
		}
	}
	mini.Del(minted.StorageKey)
	if got := at(0); got != middleware.TokenUnknown {
		t.Errorf("without its record the token is %v, want %v", got, middleware.TokenUnknown)
	}
}

func TestMintPrefix(t *testing.T) {
	mini := miniredis.RunT(t)
	request := mintRequest()
	request.Prefix = "tenant-a:"
	minted := mint(t, mini, request)
	if minted.StorageKey != "tenant-a:"+minted.APIKey || !mini.Exists(minted.StorageKey) || len(mini.Keys()) != 1 {
		t.Error("the record is not under the prefix, or not only there")
	}
}

func TestMintIsRandom(t *testing.T) {
	mini := miniredis.RunT(t)
	seen := make(map[string]bool)
	for range 50 {
		seen[mint(t, mini, mintRequest()).APIKey] = true
	}
	if len(seen) != 50 || len(mini.Keys()) != 50 {
		t.Errorf("50 tokens have %d api keys and %d records", len(seen), len(mini.Keys()))
	}
}

func TestMintRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*redisstore.MintRequest)
		want   []string // parts of the one message
	}{
		"everything": {
			func(r *redisstore.MintRequest) {
				r.Secret, r.Limit, r.TTL, r.Routes = "short-and-secret", -1, -time.Hour, []string{"/a", "b", "FOO /c", "/*/d"}
			},
			[]string{"secret has 16 bytes", "limit is -1", "ttl is -1h0m0s", `route "b"`, `route "FOO /c"`, `route "/*/d"`},
		},
		"no secret":  {func(r *redisstore.MintRequest) { r.Secret = "" }, []string{"secret has 0 bytes"}},
		"31 bytes":   {func(r *redisstore.MintRequest) { r.Secret = r.Secret[:31] }, []string{"secret has 31 bytes"}},
		"no routes":  {func(r *redisstore.MintRequest) { r.Routes = nil }, []string{"routes are empty"}},
		"zero ttl":   {func(r *redisstore.MintRequest) { r.TTL = 0 }, []string{"ttl is 0s"}},
		"half a ttl": {func(r *redisstore.MintRequest) { r.TTL = time.Second / 2 }, []string{"ttl is 500ms"}},
		"a token that no gateway reads": {
			func(r *redisstore.MintRequest) {
				r.Routes = nil
				for i := range 500 {
					r.Routes = append(r.Routes, fmt.Sprintf("/api/v1/resource/%d", i))
				}
			},
			[]string{"500 routes make a token of"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mini := miniredis.RunT(t)
			request := mintRequest()
			c.change(&request)
			minted, err := redisstore.Mint(t.Context(), newAdmin(t, mini.Addr()), request)
			if err == nil {
				t.Fatal("minted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q", want)
				}
			}
			if request.Secret != "" && strings.Contains(err.Error(), request.Secret) {
				t.Error("the error tells the secret")
			}
			if !cmp.Equal(minted, redisstore.Minted{}) || len(mini.Keys()) != 0 {
				t.Error("something was made or written in spite of the error")
			}
		})
	}
}

func TestMintLimits(t *testing.T) {
	request := mintRequest()
	request.Limit, request.TTL, request.Secret = 0, time.Second, request.Secret[:32]
	if err := request.Check(); err != nil {
		t.Errorf("the least of everything is refused: %v", err)
	}
}

func TestMintWithoutRedis(t *testing.T) {
	mini := miniredis.RunT(t)
	client := newAdmin(t, mini.Addr())
	mini.Close()
	begin := time.Now()
	minted, err := redisstore.Mint(t.Context(), client, mintRequest())
	if err == nil || !cmp.Equal(minted, redisstore.Minted{}) {
		t.Fatal("minted without Redis")
	}
	if errors.Is(err, middleware.ErrTokenUnknown) || strings.Contains(err.Error(), "\n") {
		t.Error("the error is not one line about Redis")
	}
	if took := time.Since(begin); took > patience+slack {
		t.Errorf("it took %s to see that Redis is down", took)
	}
	restart(t, mini)()
	if len(mini.Keys()) != 0 {
		t.Error("something was written")
	}
}
