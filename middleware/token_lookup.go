package middleware

import (
	"context"
	"errors"
	"time"
)

// The errors of the storage ports, for errors.Is.
var (
	// ErrTokenUnknown means that there is no record under the key.
	ErrTokenUnknown = errors.New("token unknown")
	// ErrRecordInvalid means that there is a record but it cannot be read.
	ErrRecordInvalid = errors.New("token record invalid")
	// ErrUnavailable means that the store did not answer in time, or returned an
	// error.
	ErrUnavailable = errors.New("store unavailable")
	// ErrOverloaded means that too many requests already wait for the store.
	ErrOverloaded = errors.New("store overloaded")
)

// RecordStore finds the records of tokens. Implementations are safe for
// concurrent use.
type RecordStore interface {
	// Lookup returns the record of an api key for which [ValidAPIKey] holds. The
	// error is [ErrTokenUnknown], [ErrRecordInvalid], [ErrUnavailable] or
	// [ErrOverloaded], perhaps wrapped; it never names the key.
	Lookup(ctx context.Context, apiKey string) (*Record, error)
}

// TokenLookup is the second stage: it fetches the token's record. A record that
// was edited or deleted takes effect on the next request, or as soon as a store
// that caches records learns of the change.
type TokenLookup struct {
	store RecordStore
	now   func() time.Time
}

// NewTokenLookup returns the stage. If now is nil, it uses time.Now.
func NewTokenLookup(store RecordStore, now func() time.Time) *TokenLookup {
	if now == nil {
		now = time.Now
	}
	return &TokenLookup{store: store, now: now}
}

// Name implements [Stage].
func (*TokenLookup) Name() string { return StageTokenLookup }

// Check implements [Stage].
func (l *TokenLookup) Check(ctx context.Context, ex *Exchange) Outcome {
	record, err := l.store.Lookup(ctx, ex.Claims.APIKey)
	switch {
	case errors.Is(err, ErrTokenUnknown):
		return Outcome{Reason: l.unlessExpired(ex, TokenUnknown)}
	case errors.Is(err, ErrRecordInvalid):
		return Outcome{Reason: RecordInvalid, Err: err}
	case errors.Is(err, ErrOverloaded):
		return Outcome{Reason: Overloaded, Err: err}
	case err != nil:
		return Outcome{Reason: StoreUnavailable, Err: err}
	case !l.now().Before(record.ExpiresAt):
		return Outcome{Reason: l.unlessExpired(ex, RecordExpired)}
	}
	ex.Record = record
	return Outcome{Reason: TokenFound}
}

// unlessExpired returns reason, or [TokenExpired] if the token has expired too.
// Auth forgives a clock difference, and meanwhile the record ends as well: a
// client that is told that its token is unknown would not know to renew it.
func (l *TokenLookup) unlessExpired(ex *Exchange, reason Reason) Reason {
	if exp := ex.Claims.ExpiresAt; !exp.IsZero() && !l.now().Before(exp) {
		return TokenExpired
	}
	return reason
}
