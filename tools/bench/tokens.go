package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	tokenLife  = time.Hour
	manyTokens = 100
	highLimit  = int64(1) << 40
	testPath   = "/api/v1/test"
)

// tokens mints tokens: it writes their records to Redis and their Authorization
// headers to files that the load generators read.
type tokens struct {
	redis  *redis.Client
	secret string
	dir    string
	usual  tokenSet // of most measurements
}

// A tokenSet is some tokens for one path.
type tokenSet struct {
	file    string // one Authorization header in a line
	headers []string
	path    string
}

// record is what Redis holds of a token.
type record struct {
	APIKey        string   `json:"api_key"`
	RateLimit     int64    `json:"rate_limit"`
	ExpiresAt     string   `json:"expires_at"`
	AllowedRoutes []string `json:"allowed_routes"`
}

// claims are those of a minted token. A token with many routes names only two:
// the record is what counts, and a header has a largest size.
type claims struct {
	record
	ExpiresUnix int64 `json:"exp"`
	IssuedUnix  int64 `json:"iat"`
}

func newTokens(ctx context.Context, addr, dir string) (*tokens, error) {
	t := &tokens{redis: redis.NewClient(&redis.Options{Addr: addr}), secret: rand.Text() + rand.Text(), dir: dir}
	var err error
	t.usual, err = t.mint(ctx, manyTokens, highLimit, twoRoutes())
	return t, err
}

func twoRoutes() []string { return []string{testPath, "/api/v1/test2"} }

// routes returns n routes of which the last allows the path that is asked for.
func routes(n int) []string {
	list := make([]string, 0, n)
	for i := range n - 1 {
		list = append(list, fmt.Sprintf("/api/v1/resource%d", i))
	}
	return append(list, testPath)
}

// mint makes n tokens, a thousand records in one trip to Redis.
func (t *tokens) mint(ctx context.Context, n int, limit int64, routes []string) (tokenSet, error) {
	set := tokenSet{path: testPath, headers: make([]string, 0, n)}
	for len(set.headers) < n {
		pipe := t.redis.Pipeline()
		for range min(1000, n-len(set.headers)) {
			rec := record{APIKey: rand.Text(), RateLimit: limit, AllowedRoutes: routes}
			header, value, err := t.sign(&rec)
			if err != nil {
				return set, err
			}
			set.headers = append(set.headers, header)
			pipe.Set(ctx, "token:"+rec.APIKey, value, tokenLife)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return set, fmt.Errorf("writing records: %w", err)
		}
	}
	set.file = filepath.Join(t.dir, "tokens-"+rand.Text())
	return set, os.WriteFile(set.file, []byte(strings.Join(set.headers, "\n")+"\n"), 0o600)
}

// sign returns the Authorization header of a record and the record's value. It
// sets when the record expires.
func (t *tokens) sign(rec *record) (header string, value []byte, err error) {
	now := time.Now()
	rec.ExpiresAt = now.Add(tokenLife).UTC().Format(time.RFC3339)
	if value, err = json.Marshal(rec); err != nil {
		return "", nil, fmt.Errorf("encoding a record: %w", err)
	}
	c := claims{record: *rec, ExpiresUnix: now.Add(tokenLife).Unix(), IssuedUnix: now.Unix()}
	c.AllowedRoutes = c.AllowedRoutes[:min(2, len(c.AllowedRoutes))]
	payload, err := json.Marshal(c)
	if err != nil {
		return "", nil, fmt.Errorf("encoding claims: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(payload)
	mac := hmac.New(sha256.New, []byte(t.secret))
	mac.Write([]byte(signed))
	return "Bearer " + signed + "." + encode(mac.Sum(nil)), value, nil
}
