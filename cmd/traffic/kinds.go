package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/app/mint"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
)

// kind is one kind of request of the mix.
type kind struct {
	name   string
	weight int // share of the mix
	most   int // of this kind in one run; 0 means any number
	// expect are the reasons with which the gateway may answer; the status
	// follows from the reason.
	expect []middleware.Reason
	make   maker
}

const (
	route = "/api/v1/test"
	// tokenTTL is long enough for the longest run and leaves nothing behind.
	tokenTTL = maxDuration + 10*time.Minute
	// limitedRate is the limit of the token that is meant to run into it.
	limitedRate = 20
	limitedKind = "rate limited"
	// slowWait is longer than the gateway's default slow_threshold, hopelessWait
	// longer than its default response_timeout. The backend waits that long.
	slowWait     = 1500 * time.Millisecond
	hopelessWait = 40 * time.Second
)

// tokens are the credentials that the kinds are made of.
type tokens struct {
	good, limited, noRecord, expiredRecord, brokenRecord string
	secret                                               string
}

// prepare mints the tokens and returns the mix.
func prepare(ctx context.Context, s settings) ([]kind, error) {
	client := mint.NewClient(s.redis, 5*time.Second)
	defer func() { _ = client.Close() }() // nothing is lost if it fails
	t := tokens{secret: s.secret}
	for _, token := range []struct {
		jwt    *string
		limit  int64
		change func(key string) error
	}{
		{&t.good, 1 << 40, nil},
		{&t.limited, limitedRate, nil},
		{&t.noRecord, 1, func(key string) error { return client.Del(ctx, key).Err() }},
		{&t.expiredRecord, 1, func(key string) error {
			return client.SetArgs(ctx, key, `{"rate_limit":1,"expires_at":"2020-01-01T00:00:00Z"}`, redis.SetArgs{KeepTTL: true}).Err()
		}},
		{&t.brokenRecord, 1, func(key string) error {
			return client.SetArgs(ctx, key, `{"rate_limit":"many"}`, redis.SetArgs{KeepTTL: true}).Err()
		}},
	} {
		minted, err := mint.New(ctx, client, mint.Request{
			Prefix: redisstore.RecordPrefix, Secret: s.secret, Limit: token.limit, Routes: []string{route}, TTL: tokenTTL, Now: time.Now(),
		})
		if err == nil && token.change != nil {
			err = token.change(minted.StorageKey)
		}
		if err != nil {
			return nil, fmt.Errorf("preparing tokens (-redis %s): %w", s.redis, err)
		}
		*token.jwt = minted.JWT
	}
	return t.kinds()
}

// kinds returns the mix: mostly allowed requests, and every reason that a
// client can bring about without breaking anything.
func (t tokens) kinds() ([]kind, error) {
	expired, err1 := t.sign(jwt.SigningMethodHS256, jwt.MapClaims{"api_key": "traffic", "exp": 1})
	early, err2 := t.sign(jwt.SigningMethodHS256, jwt.MapClaims{"api_key": "traffic", "exp": 9e9, "nbf": 8e9})
	noExp, err3 := t.sign(jwt.SigningMethodHS256, jwt.MapClaims{"api_key": "traffic"})
	noKey, err4 := t.sign(jwt.SigningMethodHS256, jwt.MapClaims{"api_key": "a:b", "exp": 9e9})
	foreign, err5 := t.sign(jwt.SigningMethodHS512, jwt.MapClaims{"api_key": "traffic", "exp": 9e9})
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
	}
	forged := t.good[:strings.LastIndexByte(t.good, '.')] + ".c2lnbmF0dXJl"
	is := func(r ...middleware.Reason) []middleware.Reason { return r }
	return []kind{ // the first is also the one that shows whether the gateway knows the tokens
		{"allowed", 100, 0, is(middleware.Forwarded), bearer(t.good, route)},
		{limitedKind, 40, 0, is(middleware.RateLimited, middleware.Forwarded), bearer(t.limited, route)},
		{"other route", 8, 0, is(middleware.RouteNotAllowed), bearer(t.good, "/somewhere/else")},
		{"ambiguous path", 3, 0, is(middleware.PathAmbiguous), bearer(t.good, "/api/%2e%2e/admin")},
		{"method", 2, 0, is(middleware.MethodNotAllowed), method("PROPFIND", t.good)},
		{"no credentials", 6, 0, is(middleware.CredentialsMissing), request(http.MethodGet, route)},
		{"two credentials", 2, 0, is(middleware.CredentialsAmbiguous), twice(t.good)},
		{"huge token", 2, 0, is(middleware.TokenTooLarge), bearer(strings.Repeat("a", middleware.DefaultMaxTokenBytes+1), route)},
		{"malformed token", 3, 0, is(middleware.TokenMalformed), bearer("not.a.token", route)},
		{"foreign algorithm", 3, 0, is(middleware.AlgorithmNotAllowed), bearer(foreign, route)},
		{"forged signature", 5, 0, is(middleware.SignatureInvalid), bearer(forged, route)},
		{"expired token", 5, 0, is(middleware.TokenExpired), bearer(expired, route)},
		{"early token", 2, 0, is(middleware.TokenNotYetValid), bearer(early, route)},
		{"no expiry", 2, 0, is(middleware.ClaimsInvalid), bearer(noExp, route)},
		{"odd api key", 2, 0, is(middleware.APIKeyInvalid), bearer(noKey, route)},
		{"unknown token", 5, 0, is(middleware.TokenUnknown), bearer(t.noRecord, route)},
		{"expired record", 3, 0, is(middleware.RecordExpired), bearer(t.expiredRecord, route)},
		{"broken record", 2, 0, is(middleware.RecordInvalid), bearer(t.brokenRecord, route)},
		{"slow", 4, 0, is(middleware.Forwarded), bearer(t.good, route+"?wait="+slowWait.String())},
		{"upstream too slow", 4, 4, is(middleware.UpstreamTimeout), bearer(t.good, route+"?wait="+hopelessWait.String())},
	}, nil
}

func (t tokens) sign(method jwt.SigningMethod, claims jwt.MapClaims) (string, error) {
	return jwt.NewWithClaims(method, claims).SignedString([]byte(t.secret))
}

// maker makes a request to the gateway at base.
type maker func(ctx context.Context, base string) (*http.Request, error)

func request(method, target string) maker {
	return func(ctx context.Context, base string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, method, base+target, http.NoBody) //nolint:gosec // whom to ask is what -gateway is for
	}
}

func withHeader(plain maker, values ...string) maker {
	return func(ctx context.Context, base string) (*http.Request, error) {
		r, err := plain(ctx, base)
		if err == nil {
			r.Header["Authorization"] = values
		}
		return r, err
	}
}

func bearer(token, target string) maker {
	return withHeader(request(http.MethodGet, target), "Bearer "+token)
}

func twice(token string) maker {
	return withHeader(request(http.MethodGet, route), "Bearer "+token, "Bearer "+token)
}

func method(name, token string) maker {
	return withHeader(request(name, route), "Bearer "+token)
}
