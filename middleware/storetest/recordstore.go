package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tyk_proxy/middleware"
)

// recovery bounds the time until a store notices that an outage has ended:
// go-redis v9.23 probes a server that refused connections once a second.
const recovery = 5 * time.Second

// RecordFixture is a store under test and the means to change what it reads.
type RecordFixture struct {
	Store         middleware.RecordStore
	Put           func(apiKey, record string, ttl time.Duration) // a ttl of 0 means that it never expires
	PutUnreadable func(apiKey string)                            // stores a value that is not a record
	Delete        func(apiKey string)
	Advance       func(time.Duration) // lets time pass
	Fail, Recover func()              // begin and end an outage, which may lose the records
}

// Record returns the text of a record.
func Record(apiKey string, limit int64, expires time.Time, routes ...string) string {
	text, err := middleware.RecordFields{
		APIKey: apiKey, RateLimit: limit, ExpiresAt: expires, AllowedRoutes: routes,
	}.Text()
	if err != nil {
		panic(fmt.Sprintf("storetest: %v", err)) // a year beyond 9999
	}
	return text
}

// RunRecordStore checks that a store follows the contract of
// [middleware.RecordStore]. The factory returns a new, empty one for each call.
func RunRecordStore(t *testing.T, factory func(testing.TB) RecordFixture) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, RecordFixture){
		"unknown":       recordUnknown,
		"life":          recordLife,
		"ttl":           recordTTL,
		"neighbours":    recordNeighbours,
		"invalid":       recordInvalid,
		"wrong type":    recordWrongType,
		"size":          recordSize,
		"outage":        recordOutage,
		"caller leaves": recordCallerLeaves,
		"concurrency":   recordConcurrency,
	} {
		t.Run(name, func(t *testing.T) { test(t, factory(t)) })
	}
}

// suiteKey has the form of a minted api key; it protects nothing.
const suiteKey = "Zm9yLXRlc3RzLW9ubHkhIQ"

func suiteExpiry() time.Time { return time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC) }

// CheckError fails the test if err is not want, is another of the ports' errors as
// well, or names the api key. It does not print an error that names the key.
func CheckError(tb testing.TB, err, want error, apiKey string) {
	tb.Helper()
	if err != nil && strings.Contains(err.Error(), apiKey) {
		tb.Error("the error names the api key")
		return
	}
	for _, sentinel := range []error{middleware.ErrTokenUnknown, middleware.ErrRecordInvalid, middleware.ErrUnavailable} {
		if errors.Is(err, sentinel) != errors.Is(want, sentinel) {
			tb.Errorf("error is %v, want %v", err, want)
		}
	}
}

func lookup(t *testing.T, b RecordFixture, apiKey string, want error) {
	t.Helper()
	record, err := b.Store.Lookup(t.Context(), apiKey)
	CheckError(t, err, want, apiKey)
	if want != nil && record != nil {
		t.Error("a record was returned with the error")
	}
}

func lookupFinds(t *testing.T, b RecordFixture, limit int64, route string) {
	t.Helper()
	record, err := b.Store.Lookup(t.Context(), suiteKey)
	if err != nil {
		CheckError(t, err, nil, suiteKey)
		t.Fatal("the record was not found")
	}
	if record.RateLimit != limit || !record.ExpiresAt.Equal(suiteExpiry()) {
		t.Errorf("limit %d until %s, want %d until %s", record.RateLimit, record.ExpiresAt, limit, suiteExpiry())
	}
	if _, ok := record.Routes.Match("GET", route); !ok {
		t.Errorf("route %s is not allowed", route)
	}
}

func recordUnknown(t *testing.T, b RecordFixture) { lookup(t, b, suiteKey, middleware.ErrTokenUnknown) }

func recordLife(t *testing.T, b RecordFixture) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	lookupFinds(t, b, 10, "/a")
	b.Put(suiteKey, Record(suiteKey, 0, suiteExpiry(), "/b"), 0)
	lookupFinds(t, b, 0, "/b")
	b.Delete(suiteKey)
	lookup(t, b, suiteKey, middleware.ErrTokenUnknown)
	b.Put(suiteKey, Record(suiteKey, 7, suiteExpiry(), "/c"), 0)
	lookupFinds(t, b, 7, "/c")
}

func recordTTL(t *testing.T, b RecordFixture) {
	const ttl = 500 * time.Millisecond
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), ttl)
	lookupFinds(t, b, 10, "/a")
	b.Advance(ttl + 50*time.Millisecond)
	lookup(t, b, suiteKey, middleware.ErrTokenUnknown)
}

// recordNeighbours checks that similar keys have different records.
func recordNeighbours(t *testing.T, b RecordFixture) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	for _, key := range []string{
		strings.ToLower(suiteKey), suiteKey + ".", suiteKey + "-", suiteKey[:len(suiteKey)-1], "~" + suiteKey,
	} {
		lookup(t, b, key, middleware.ErrTokenUnknown)
	}
}

func recordInvalid(t *testing.T, b RecordFixture) {
	for name, record := range map[string]string{
		"blank":            " ",
		"not JSON":         suiteKey,
		"cut short":        Record(suiteKey, 10, suiteExpiry(), "/a")[:30],
		"two values":       Record(suiteKey, 10, suiteExpiry()) + "{}",
		"a list":           "[]",
		"null":             "null",
		"no limit":         `{"expires_at":1}`,
		"negative limit":   Record(suiteKey, -1, suiteExpiry(), "/a"),
		"fractional limit": `{"rate_limit":1.5,"expires_at":1}`,
		"no expiry":        `{"rate_limit":1}`,
		"routes no list":   `{"rate_limit":1,"expires_at":1,"allowed_routes":"/a"}`,
		"another's record": Record("another", 10, suiteExpiry(), "/a"),
		"repeated member":  `{"rate_limit":1,"rate_limit":9,"expires_at":1}`,
		"not UTF-8, NUL":   "{\"\xff\x00",
		"key as the limit": `{"rate_limit":"` + suiteKey + `","expires_at":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			b.Put(suiteKey, record, 0)
			lookup(t, b, suiteKey, middleware.ErrRecordInvalid)
		})
	}
}

func recordWrongType(t *testing.T, b RecordFixture) {
	b.PutUnreadable(suiteKey)
	lookup(t, b, suiteKey, middleware.ErrRecordInvalid)
}

// recordSize checks that the largest record is accepted, and that larger ones are
// not.
func recordSize(t *testing.T, b RecordFixture) {
	record := Record(suiteKey, 10, suiteExpiry(), "/a")
	for size, want := range map[int]error{
		middleware.MaxRecordSize:     nil,
		middleware.MaxRecordSize + 1: middleware.ErrRecordInvalid,
		4 << 20:                      middleware.ErrRecordInvalid,
	} {
		b.Put(suiteKey, record+strings.Repeat(" ", size-len(record)), 0)
		lookup(t, b, suiteKey, want)
	}
}

func recordOutage(t *testing.T, b RecordFixture) {
	record := Record(suiteKey, 10, suiteExpiry(), "/a")
	b.Put(suiteKey, record, 0)
	lookupFinds(t, b, 10, "/a")
	b.Fail()
	for range 20 { // more than the connections of any pool
		lookup(t, b, suiteKey, middleware.ErrUnavailable)
	}
	b.Recover()
	b.Put(suiteKey, record, 0)
	await(t, func() error {
		_, err := b.Store.Lookup(t.Context(), suiteKey)
		return err
	})
	lookupFinds(t, b, 10, "/a")
}

// recordCallerLeaves checks that a cancelled context is not reported as an outage.
func recordCallerLeaves(t *testing.T, b RecordFixture) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Store.Lookup(ctx, suiteKey)
	CheckError(t, err, nil, suiteKey)
}

func recordConcurrency(t *testing.T, b RecordFixture) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 25 {
				lookup(t, b, suiteKey, nil)
				lookup(t, b, "another", middleware.ErrTokenUnknown)
			}
		})
	}
	callers.Wait()
}

// await repeats a call until it returns no error. Each error must be
// [middleware.ErrUnavailable].
func await(t *testing.T, call func() error) {
	t.Helper()
	for deadline := time.Now().Add(recovery); ; time.Sleep(10 * time.Millisecond) {
		err := call()
		if err == nil {
			return
		}
		CheckError(t, err, middleware.ErrUnavailable, suiteKey)
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("timed out after %s waiting for the end of the outage", recovery)
		}
	}
}
