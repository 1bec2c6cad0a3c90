package middleware

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type limitRow struct {
	name      string
	limit     int64
	count     int64
	err       error
	want      Reason
	remaining int64
	failOpen  bool
}

func limitRows() []limitRow {
	rows := []limitRow{
		{"first", 10, 1, nil, WithinLimit, 9, false},
		{"last", 10, 10, nil, WithinLimit, 0, false},
		{"one too many", 10, 11, nil, RateLimited, 0, false},
		// The limit was lowered in the middle of a window.
		{"far too many", 10, 50, nil, RateLimited, 0, false},
		{"limit 0", 0, 1, nil, RateLimited, 0, false},
		{"limit 1", 1, 1, nil, WithinLimit, 0, false},
		{"largest limit", math.MaxInt64, 1, nil, WithinLimit, math.MaxInt64 - 1, false},
		{"largest count", 1, math.MaxInt64, nil, RateLimited, 0, false},
		{"unavailable", 10, 0, fmt.Errorf("%w: why", ErrUnavailable), LimiterUnavailable, 0, false},
		{"unnamed error", 10, 0, errors.New("surprise"), LimiterUnavailable, 0, false},
		{"overloaded", 10, 0, fmt.Errorf("%w: why", ErrOverloaded), Overloaded, 0, false}, // also when failing open
	}
	for _, row := range rows {
		row.name, row.failOpen = "failing open: "+row.name, true
		if row.want == LimiterUnavailable {
			row.want = LimiterBypassed
		}
		rows = append(rows, row)
	}
	// A limit of 0 admits nothing, whatever the count.
	return append(rows, limitRow{"failing open: limit 0, unavailable", 0, 0, ErrUnavailable, LimiterUnavailable, 0, true})
}

func TestRateLimit(t *testing.T) {
	for _, row := range limitRows() {
		t.Run(row.name, func(t *testing.T) {
			var asked string
			counter := countFunc(func(_ context.Context, apiKey string, limit int64) (Quota, error) {
				asked = apiKey
				return quotaOf(limit, row.count), row.err
			})
			ex := &Exchange{Claims: Claims{APIKey: testKey}, Record: &Record{RateLimit: row.limit}}
			o := NewRateLimit(RateLimitConfig{Counter: counter, FailOpen: row.failOpen}).Check(t.Context(), ex)
			checkReason(t, o, row.want)
			if asked != testKey {
				t.Errorf("counted for %q", asked)
			}
			if !errors.Is(o.Err, row.err) {
				t.Errorf("error %v, want %v", o.Err, row.err)
			}
			var want Quota
			if row.err == nil {
				want = quotaOf(row.limit, row.count)
			}
			if remaining := ex.Quota.Remaining(); remaining != row.remaining {
				t.Errorf("%d remain, want %d", remaining, row.remaining)
			}
			if diff := cmp.Diff(want, ex.Quota); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRateLimitHeaders(t *testing.T) {
	for _, row := range []struct {
		name  string
		quota Quota
		want  []string // policy, limit, X-Limit, X-Remaining, X-Reset
	}{
		{"usual", Quota{10, 1, time.Minute, 41200 * time.Millisecond, time.Unix(1767366300, 0), SourceRedis},
			[]string{`"default";q=10;w=60`, `"default";r=9;t=42`, "10", "9", "1767366300"}},
		{"whole seconds", Quota{10, 11, time.Hour, 41 * time.Second, time.Unix(1, 999), SourceRedis},
			[]string{`"default";q=10;w=3600`, `"default";r=0;t=41`, "10", "0", "1"}},
		{"nothing left of the window", Quota{0, 1, time.Second, 0, time.Unix(0, 0), SourceRedis},
			[]string{`"default";q=0;w=1`, `"default";r=0;t=1`, "0", "0", "0"}},
		{"a clock behind", Quota{1, 0, time.Second, -time.Second, time.Unix(5, 0), SourceRedis},
			[]string{`"default";q=1;w=1`, `"default";r=1;t=1`, "1", "1", "5"}},
		{"the largest integer", Quota{999_999_999_999_999, 0, time.Minute, time.Minute, time.Unix(5, 0), SourceRedis},
			[]string{`"default";q=999999999999999;w=60`, `"default";r=999999999999999;t=60`, "999999999999999", "999999999999999", "5"}},
		{"more than the largest integer", Quota{1e15, 1, time.Minute, time.Minute, time.Unix(5, 0), SourceRedis},
			[]string{`"default";q=999999999999999;w=60`, `"default";r=999999999999999;t=60`, "999999999999999", "999999999999999", "5"}},
		{"the largest limit", Quota{math.MaxInt64, 1, time.Minute, time.Minute, time.Unix(5, 0), SourceRedis},
			[]string{`"default";q=999999999999999;w=60`, `"default";r=999999999999999;t=60`, "999999999999999", "999999999999999", "5"}},
		{"not consulted", Quota{}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := http.Header{}
			if row.want != nil { // the fields of an upstream are replaced
				h = http.Header{"Ratelimit": {"1", "2"}, "Ratelimit-Policy": {"x"}, "X-Ratelimit-Limit": {"x"}}
			}
			writeRateLimitHeaders(h, row.quota)
			want := http.Header{}
			for i, name := range []string{
				"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
			} {
				if row.want != nil {
					want.Set(name, row.want[i])
				}
			}
			if diff := cmp.Diff(want, h); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
