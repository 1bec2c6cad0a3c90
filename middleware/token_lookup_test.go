package middleware

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

type lookupRow struct {
	name   string
	record *Record
	err    error
	want   Reason
}

func lookupRows() []lookupRow {
	until := func(d time.Duration) *Record { return &Record{ExpiresAt: epoch.Add(d)} }
	return []lookupRow{
		{"current", until(time.Hour), nil, TokenFound},
		{"a nanosecond left", until(1), nil, TokenFound},
		{"ends now", until(0), nil, RecordExpired},
		{"ended", until(-time.Hour), nil, RecordExpired},
		{"unknown", nil, ErrTokenUnknown, TokenUnknown},
		{"unknown, wrapped", nil, fmt.Errorf("looking up: %w", ErrTokenUnknown), TokenUnknown},
		{"unreadable", nil, fmt.Errorf("%w: why", ErrRecordInvalid), RecordInvalid},
		{"unavailable", nil, fmt.Errorf("%w: why", ErrUnavailable), StoreUnavailable},
		{"overloaded", nil, fmt.Errorf("%w: why", ErrOverloaded), Overloaded},
		// An error that the port does not define is an outage and not a bad token.
		{"unnamed error", nil, errors.New("surprise"), StoreUnavailable},
		{"deadline", nil, context.DeadlineExceeded, StoreUnavailable},
	}
}

// Within the leeway of auth, a token that has expired is called so, also if its
// record has gone or expired. Without exp, and before it, the record decides.
func TestTokenLookupWithinLeeway(t *testing.T) {
	for _, row := range []struct {
		name    string
		expires time.Time // of the token
		record  *Record
		err     error
		want    Reason
	}{
		{"no record", epoch, nil, ErrTokenUnknown, TokenExpired},
		{"no record, long since", epoch.Add(-time.Minute), nil, ErrTokenUnknown, TokenExpired},
		{"record expired", epoch, &Record{ExpiresAt: epoch}, nil, TokenExpired},
		{"record current", epoch, &Record{ExpiresAt: epoch.Add(time.Minute)}, nil, TokenFound},
		{"record unreadable", epoch, nil, ErrRecordInvalid, RecordInvalid},
		{"no record, token current", epoch.Add(1), nil, ErrTokenUnknown, TokenUnknown},
		{"record expired, token current", epoch.Add(1), &Record{ExpiresAt: epoch}, nil, RecordExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := lookupFunc(func(context.Context, string) (*Record, error) { return row.record, row.err })
			ex := &Exchange{Claims: Claims{APIKey: testKey, ExpiresAt: row.expires}}
			checkReason(t, NewTokenLookup(store, fixed).Check(t.Context(), ex), row.want)
		})
	}
}

func TestTokenLookup(t *testing.T) {
	for _, row := range lookupRows() {
		t.Run(row.name, func(t *testing.T) {
			var asked string
			store := lookupFunc(func(_ context.Context, apiKey string) (*Record, error) {
				asked = apiKey
				return row.record, row.err
			})
			ex := &Exchange{Claims: Claims{APIKey: testKey}}
			o := NewTokenLookup(store, fixed).Check(t.Context(), ex)
			checkReason(t, o, row.want)
			if asked != testKey {
				t.Errorf("asked for %q", asked)
			}
			if kept := ex.Record != nil; kept != (row.want == TokenFound) {
				t.Errorf("the exchange has a record: %v", kept)
			}
			if failed := o.Verdict() == Fail; failed != (o.Err != nil) || failed && !errors.Is(o.Err, row.err) {
				t.Errorf("%s has the error %v", o.Reason, o.Err)
			}
		})
	}
}
