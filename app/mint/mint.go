// Package mint makes tokens. A token is a JWT that its holder sends, and a record
// in Redis that says what the holder may do.
package mint

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"tyk_proxy/middleware"
)

// apiKeyBytes is the randomness of an api key: 128 bits cannot be guessed.
const apiKeyBytes = 16

// minSecretBytes is the least length of an HS256 key (RFC 7518 §3.2).
const minSecretBytes = 32

// recordGrace is how long a record outlives its token: the largest leeway that a
// gateway can be given. Otherwise a token that has just expired would be unknown.
const recordGrace = 60 * time.Second

// DefaultRoutes returns the routes of a token for which no routes were chosen.
func DefaultRoutes() []string { return []string{"/api/v1/test", "/api/v1/test2"} }

// NewClient returns a client for [New]. It opens one connection, and timeout
// bounds dialling, each write and each read.
func NewClient(addr string, timeout time.Duration) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:            addr,
		Protocol:        2,
		DialTimeout:     timeout,
		DialerRetries:   1,
		ReadTimeout:     timeout,
		WriteTimeout:    timeout,
		PoolSize:        1,
		MaxRetries:      -1,
		DisableIdentity: true,
		// Saves a command per connection, which only managed clusters understand.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// Request describes the token to make.
type Request struct {
	Prefix string        // of the record's key; normally redisstore.RecordPrefix
	Secret string        // signs the JWT with HS256
	Limit  int64         // requests per window
	Routes []string      // rules, see middleware.ParseRoute
	TTL    time.Duration // life of the JWT; fractions of a second are dropped
	Now    time.Time
}

// Token is a new token.
type Token struct {
	APIKey     string
	StorageKey string // of the record in Redis
	JWT        string
	ExpiresAt  time.Time
	Routes     []string
}

// claims are the claims of a minted JWT.
type claims struct {
	middleware.RecordFields
	jwt.RegisteredClaims
}

// Check returns all faults of the request as one error.
func (r Request) Check() error {
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

// New makes a token: a random api key, a JWT that contains it, and the record.
// It writes the record last and in one command, so an error leaves nothing
// incomplete. If only the reply of Redis was lost, a record whose api key nobody
// knows may remain until its TTL ends.
func New(ctx context.Context, client redis.UniversalClient, r Request) (Token, error) {
	if err := r.Check(); err != nil {
		return Token{}, err
	}
	random := make([]byte, apiKeyBytes)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	issued := r.Now.UTC().Truncate(time.Second)
	expires := issued.Add(r.TTL.Truncate(time.Second))
	record := middleware.RecordFields{
		APIKey:        base64.RawURLEncoding.EncodeToString(random),
		RateLimit:     r.Limit,
		ExpiresAt:     expires,
		AllowedRoutes: r.Routes,
	}
	signed, err := sign(record, issued, r.Secret)
	if err != nil {
		return Token{}, err
	}
	text, err := record.Text()
	if err != nil {
		return Token{}, err
	}
	key := r.Prefix + record.APIKey
	if err := client.Set(ctx, key, text, expires.Sub(issued)+recordGrace).Err(); err != nil {
		return Token{}, fmt.Errorf("writing the record to Redis: %w", middleware.RedactError(err))
	}
	return Token{APIKey: record.APIKey, StorageKey: key, JWT: signed, ExpiresAt: expires, Routes: r.Routes}, nil
}

// sign returns the JWT. It refuses one that is too large for a gateway: the
// claims contain the routes, and the size of a bearer token is limited.
func sign(record middleware.RecordFields, issued time.Time, secret string) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RecordFields: record,
		RegisteredClaims: jwt.RegisteredClaims{
			IssuedAt:  jwt.NewNumericDate(issued),
			ExpiresAt: jwt.NewNumericDate(record.ExpiresAt),
		},
	}).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	if _, reason := middleware.ParseBearer([]string{"Bearer " + signed}, middleware.DefaultMaxTokenBytes); reason != middleware.ReasonNone {
		return "", fmt.Errorf("%d routes make a token of %d bytes, more than a gateway accepts: name fewer, or subtrees such as /files/*",
			len(record.AllowedRoutes), len(signed))
	}
	return signed, nil
}
