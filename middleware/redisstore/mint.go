package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// apiKeyBytes is the randomness of an api key: 128 bits cannot be guessed.
const apiKeyBytes = 16

// minSecretBytes is the least an HS256 key may have (RFC 7518 §3.2).
const minSecretBytes = 32

// NewMintClient returns a client for a program that mints tokens: it has one
// connection, and timeout bounds each step of using it.
func NewMintClient(addr string, timeout time.Duration) *redis.Client {
	return redis.NewClient(Options{Addr: addr, DialTimeout: timeout, Timeout: timeout}.base())
}

// MintRequest describes a token to be made.
type MintRequest struct {
	Prefix string        // of the record's key; normally [TokenPrefix]
	Secret string        // signs the JWT with HS256
	Limit  int64         // requests per window
	Routes []string      // rules, see middleware.ParseRoute
	TTL    time.Duration // life of the JWT and of the record; whole seconds are kept
	Now    time.Time
}

// Minted is a new token.
type Minted struct {
	APIKey     string
	StorageKey string
	JWT        string
	ExpiresAt  time.Time
	Routes     []string
}

// record and mintedClaims share their members' names; they are what a token's
// record and JWT look like on the wire.
type record struct {
	APIKey        string   `json:"api_key"`
	RateLimit     int64    `json:"rate_limit"`
	ExpiresAt     string   `json:"expires_at"`
	AllowedRoutes []string `json:"allowed_routes"`
}

type mintedClaims struct {
	record
	jwt.RegisteredClaims
}

// Check returns everything that is wrong with the request as one error.
func (r MintRequest) Check() error {
	var faults []error
	if len(r.Secret) < minSecretBytes {
		faults = append(faults, fmt.Errorf("secret has %d bytes: HS256 needs at least %d (make secret prints one)",
			len(r.Secret), minSecretBytes))
	}
	if r.Limit < 0 {
		faults = append(faults, fmt.Errorf("limit is %d: use 0 or more requests per window", r.Limit))
	}
	if r.TTL < time.Second {
		faults = append(faults, fmt.Errorf("ttl is %s: use a second or more, such as 24h", r.TTL))
	}
	if len(r.Routes) == 0 {
		faults = append(faults, errors.New("routes are empty: name at least one, such as /api/v1/test"))
	}
	for _, route := range r.Routes {
		if _, err := middleware.ParseRoute(route); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Mint makes a token: a random api key, a JWT that names it, and the record.
// The record is written last and in one command, so a failure leaves nothing
// half done. Where only Redis' reply was lost, a record may stay until its TTL
// ends; nobody knows its api key.
func Mint(ctx context.Context, client redis.UniversalClient, r MintRequest) (Minted, error) {
	if err := r.Check(); err != nil {
		return Minted{}, err
	}
	random := make([]byte, apiKeyBytes)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	issued := r.Now.UTC().Truncate(time.Second)
	expires := issued.Add(r.TTL.Truncate(time.Second))
	rec := record{
		APIKey:        base64.RawURLEncoding.EncodeToString(random),
		RateLimit:     r.Limit,
		ExpiresAt:     expires.Format(time.RFC3339),
		AllowedRoutes: r.Routes,
	}
	signed, err := sign(rec, issued, expires, r.Secret)
	if err != nil {
		return Minted{}, err
	}
	value, err := json.Marshal(rec) //nolint:gosec // G117: the record carries its api key by definition, and only to the store
	if err != nil {
		return Minted{}, fmt.Errorf("encoding the record: %w", err)
	}
	key := r.Prefix + rec.APIKey
	if err := client.Set(ctx, key, value, expires.Sub(issued)).Err(); err != nil {
		return Minted{}, fmt.Errorf("writing the record to Redis: %w", unquoted(err))
	}
	return Minted{APIKey: rec.APIKey, StorageKey: key, JWT: signed, ExpiresAt: expires, Routes: r.Routes}, nil
}

// sign makes the JWT and refuses one that no gateway would read: the claims
// repeat the routes, and a bearer token has a largest size.
func sign(rec record, issued, expires time.Time, secret string) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, mintedClaims{
		record: rec,
		RegisteredClaims: jwt.RegisteredClaims{
			IssuedAt:  jwt.NewNumericDate(issued),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
	}).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	if _, reason := middleware.ParseBearer([]string{"Bearer " + signed}); reason != middleware.ReasonNone {
		return "", fmt.Errorf("%d routes make a token of %d bytes, more than a gateway accepts: name fewer, or subtrees such as /files/*",
			len(rec.AllowedRoutes), len(signed))
	}
	return signed, nil
}
