package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The sentinels of the storage ports, for errors.Is.
var (
	// ErrTokenUnknown means there is no record under the key.
	ErrTokenUnknown = errors.New("token unknown")
	// ErrRecordInvalid means there is a record but it cannot be read.
	ErrRecordInvalid = errors.New("token record invalid")
	// ErrUnavailable means the store did not answer in time, or not usefully.
	ErrUnavailable = errors.New("store unavailable")
	// ErrOverloaded means too many requests already wait for the store.
	ErrOverloaded = errors.New("store overloaded")
)

// MaxRecordSize bounds a token's record, in bytes.
const MaxRecordSize = 64 << 10

// Token is a token's record: the truth about what its holder may do. It is
// read-only once parsed and may be shared between requests.
type Token struct {
	RateLimit int64 // requests per window; 0 admits none
	ExpiresAt time.Time
	Routes    RouteSet
}

// TokenStore finds token records. Implementations are safe for concurrent use.
type TokenStore interface {
	// Lookup returns the record of an api key for which [ValidAPIKey] holds. Its
	// error is [ErrTokenUnknown], [ErrRecordInvalid], [ErrUnavailable] or
	// [ErrOverloaded], perhaps wrapped; it never names the key.
	Lookup(ctx context.Context, apiKey string) (*Token, error)
}

// ParseToken reads a record:
//
//	{"api_key":"…","rate_limit":10,"expires_at":"2026-01-02T15:04:05Z",
//	 "allowed_routes":["/api/v1/test","GET /files/*"]}
//
// expires_at is RFC 3339, or a number of Unix seconds. A record without
// allowed_routes, or with null or an empty list, allows nothing. Unknown
// members are ignored, so that other programs can keep theirs. Every error is
// an [ErrRecordInvalid] and quotes nothing of the record.
func ParseToken(apiKey string, record []byte) (*Token, error) {
	token, err := parseToken(apiKey, record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecordInvalid, err)
	}
	return token, nil
}

func parseToken(apiKey string, record []byte) (*Token, error) {
	if len(record) > MaxRecordSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxRecordSize)
	}
	members, err := decodeObject(record)
	if err != nil {
		return nil, err
	}
	if _, ok := members["api_key"]; ok {
		if key, err := stringMember(members, "api_key"); err != nil || key != apiKey {
			return nil, errors.New("api_key is not the key it is stored under")
		}
	}
	token := &Token{}
	if token.RateLimit, err = strconv.ParseInt(string(members["rate_limit"]), 10, 64); err != nil || token.RateLimit < 0 {
		return nil, errors.New("rate_limit is not a whole number of at least 0")
	}
	if token.ExpiresAt, err = expiry(members["expires_at"]); err != nil {
		return nil, err
	}
	var routes []string
	if raw, ok := members["allowed_routes"]; ok {
		if err := json.Unmarshal(raw, &routes); err != nil {
			return nil, errors.New("allowed_routes is not a list of strings")
		}
	}
	token.Routes = NewRouteSet(routes)
	return token, nil
}

func expiry(raw json.RawMessage) (time.Time, error) {
	if seconds, err := strconv.ParseInt(string(raw), 10, 64); err == nil && seconds >= 0 && seconds <= maxNumericDate {
		return time.Unix(seconds, 0), nil
	}
	var t time.Time
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &t) != nil {
		return time.Time{}, errors.New("expires_at is neither an RFC 3339 time nor Unix seconds")
	}
	return t, nil
}

// TokenLookup is the second stage: it fetches the token's record, so that
// deleting or editing it takes effect on the next request, or as soon as a store
// that keeps records in memory learns of it.
type TokenLookup struct {
	store TokenStore
	now   func() time.Time
}

// NewTokenLookup returns the stage; now may be nil for time.Now.
func NewTokenLookup(store TokenStore, now func() time.Time) *TokenLookup {
	if now == nil {
		now = time.Now
	}
	return &TokenLookup{store: store, now: now}
}

// Name implements [Stage].
func (*TokenLookup) Name() string { return StageTokenLookup }

// Check implements [Stage].
func (l *TokenLookup) Check(ctx context.Context, ex *Exchange) Outcome {
	token, err := l.store.Lookup(ctx, ex.Claims.APIKey)
	switch {
	case errors.Is(err, ErrTokenUnknown):
		return Outcome{Reason: TokenUnknown}
	case errors.Is(err, ErrRecordInvalid):
		return Outcome{Reason: RecordInvalid, Err: err}
	case errors.Is(err, ErrOverloaded):
		return Outcome{Reason: Overloaded, Err: err}
	case err != nil:
		return Outcome{Reason: StoreUnavailable, Err: err}
	case !l.now().Before(token.ExpiresAt):
		return Outcome{Reason: RecordExpired}
	}
	ex.Token = token
	return Outcome{Reason: TokenFound}
}
