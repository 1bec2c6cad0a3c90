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
