package middleware

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type lookupRow struct {
	name  string
	token *Record
	err   error
	want  Reason
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
		// An error that the port does not name is an outage, never a bad token.
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
				return row.token, row.err
			})
			ex := &Exchange{Claims: Claims{APIKey: testKey}}
			o := NewTokenLookup(store, fixed).Check(t.Context(), ex)
			checkReason(t, o, row.want)
			if asked != testKey {
				t.Errorf("asked for %q", asked)
			}
			if kept := ex.Record != nil; kept != (row.want == TokenFound) {
				t.Errorf("token kept: %v", kept)
			}
			if failed := o.Verdict() == Fail; failed != (o.Err != nil) || failed && !errors.Is(o.Err, row.err) {
				t.Errorf("%s has the cause %v", o.Reason, o.Err)
			}
		})
	}
}

type routeRow struct {
	name   string
	record string // the value of allowed_routes; "" for none
	method string
	target string
	want   Reason
	route  string // what matched
}

func routeRows() []routeRow {
	const two = `["/api/v1/test","/api/v1/test2"]`
	const pub = `["/pub/*"]`
	const mixed = `["/a/*","GET /a/b/*","/a/b/c","POST /form","/*/x","/x*","relative"]`
	return slices.Concat(refusedRows(), []routeRow{
		{"exact", two, "GET", "/api/v1/test", RouteAllowed, "/api/v1/test"},
		{"exact, any method", two, "DELETE", "/api/v1/test2", RouteAllowed, "/api/v1/test2"},
		{"exact, with a query", two, "GET", "/api/v1/test?x=/other", RouteAllowed, "/api/v1/test"},
		{"exact, encoded letters", two, "GET", "/%61pi/v1/te%73t", RouteAllowed, "/api/v1/test"},
		{"allowed only in the query", two, "GET", "/other?/api/v1/test", RouteNotAllowed, ""},
		{"longer", two, "GET", "/api/v1/test3", RouteNotAllowed, ""},
		{"shorter", two, "GET", "/api/v1/tes", RouteNotAllowed, ""},
		{"below", two, "GET", "/api/v1/test/x", RouteNotAllowed, ""},
		{"trailing slash", two, "GET", "/api/v1/test/", RouteNotAllowed, ""},
		{"upper case", two, "GET", "/API/v1/test", RouteNotAllowed, ""},
		{"upper case, encoded", two, "GET", "/%41pi/v1/test", RouteNotAllowed, ""},
		{"parameters", two, "GET", "/api/v1/test;x=1", RouteNotAllowed, ""},

		{"subtree", pub, "GET", "/pub/x", RouteAllowed, "/pub/*"},
		{"deep in the subtree", pub, "GET", "/pub/x/y/z", RouteAllowed, "/pub/*"},
		{"the subtree's root", pub, "GET", "/pub/", RouteAllowed, "/pub/*"},
		{"the subtree's name", pub, "GET", "/pub", RouteNotAllowed, ""},
		{"no segment boundary", pub, "GET", "/publicity", RouteNotAllowed, ""},
		{"no segment boundary, dots", pub, "GET", "/pub../admin", RouteNotAllowed, ""},
		{"no segment boundary, encoded", pub, "GET", "/pub%2e", RouteNotAllowed, ""},
		{"subtree in upper case", pub, "GET", "/PUB/x", RouteNotAllowed, ""},
		{"out of the subtree", pub, "GET", "/pub/../admin", PathAmbiguous, ""},
		{"out of the subtree, encoded", pub, "GET", "/pub/%2e%2e/admin", PathAmbiguous, ""},
		{"everything", `["/*"]`, "GET", "/x/y", RouteAllowed, "/*"},
		{"everything, the root", `["/*"]`, "GET", "/", RouteAllowed, "/*"},

		{"most specific: exact", mixed, "GET", "/a/b/c", RouteAllowed, "/a/b/c"},
		{"most specific: long", mixed, "GET", "/a/b/d", RouteAllowed, "/a/b/*"},
		{"HEAD by GET", mixed, "HEAD", "/a/b/d", RouteAllowed, "/a/b/*"},
		{"other method, other rule", mixed, "POST", "/a/b/d", RouteAllowed, "/a/*"},
		{"its method", mixed, "POST", "/form", RouteAllowed, "/form"},
		{"not its method", mixed, "GET", "/form", RouteNotAllowed, ""},
		{"HEAD not by POST", mixed, "HEAD", "/form", RouteNotAllowed, ""},
		{"no pattern inside", mixed, "GET", "/q/x", RouteNotAllowed, ""},
		{"a star is no pattern", mixed, "GET", "/*/x", RouteNotAllowed, ""},
		{"no pattern without a slash", mixed, "GET", "/xy", RouteNotAllowed, ""},
		{"GET not by HEAD", `["HEAD /h"]`, "GET", "/h", RouteNotAllowed, ""},
		{"HEAD by HEAD", `["HEAD /h"]`, "HEAD", "/h", RouteAllowed, "/h"},
		{"lower-case method in a rule", `["get /h"]`, "GET", "/h", RouteNotAllowed, ""},
		{"star for OPTIONS", `["/*"]`, "OPTIONS", "*", PathAmbiguous, ""},
	})
}

// refusedRows are about records that allow nothing and methods that nothing
// allows.
func refusedRows() []routeRow {
	rows := make([]routeRow, 0, 32)
	for _, record := range []string{
		"", `null`, `[]`, `["*"]`, `[""]`, `[null]`, `["/"]`, `["*/"]`, `["GET"]`, `["GET *"]`, `["//*"]`, `["/../*"]`,
	} {
		rows = append(rows, routeRow{"deny by default: " + record, record, "GET", "/api/v1/test", RouteNotAllowed, ""})
	}
	for _, method := range []string{"CONNECT", "TRACE", "FOO", "get", "PROPFIND", "PRI", ""} {
		rows = append(rows, routeRow{"method " + method, `["/*"]`, method, "/", MethodNotAllowed, ""})
	}
	return rows
}

func TestRouteCheck(t *testing.T) {
	for _, row := range routeRows() {
		t.Run(row.name, func(t *testing.T) {
			record := `{"rate_limit":1,"expires_at":"2030-01-01T00:00:00Z"}`
			if row.record != "" {
				record = record[:len(record)-1] + `,"allowed_routes":` + row.record + `}`
			}
			token, err := ParseRecord(testKey, []byte(record))
			if err != nil {
				t.Fatal(err)
			}
			target, err := url.ParseRequestURI(row.target)
			if err != nil {
				t.Fatal(err)
			}
			ex := &Exchange{Request: &http.Request{Method: row.method, URL: target}, Record: token}
			checkReason(t, RouteCheck{}.Check(t.Context(), ex), row.want)
			if ex.Route != row.route {
				t.Errorf("route %q, want %q", ex.Route, row.route)
			}
			if kept := ex.Path != (Path{}); kept != (row.want == RouteAllowed) {
				t.Errorf("path kept: %+v", ex.Path)
			}
		})
	}
}

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
	// What admits none need not be counted.
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
				t.Errorf("cause %v, want %v", o.Err, row.err)
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

// reasonsOf collects what the rows of a table expect.
func reasonsOf[R any](rows []R, want func(R) Reason) []Reason {
	reasons := make([]Reason, 0, len(rows))
	for _, row := range rows {
		reasons = append(reasons, want(row))
	}
	return reasons
}
