package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tyk_proxy/middleware"
)

// recovery is how long a store may need to notice that an outage has ended:
// go-redis probes a server that refused connections once a second.
const recovery = 5 * time.Second

// TokenBackend is a store under test and what can be done behind its back.
type TokenBackend struct {
	Store         middleware.TokenStore
	Put           func(apiKey, record string, ttl time.Duration) // 0 means without end
	PutUnreadable func(apiKey string)                            // a value of another kind than a record
	Delete        func(apiKey string)
	Advance       func(time.Duration) // lets time pass
	Fail, Recover func()              // begin and end an outage, which may lose the records
}

// Record returns a token's record as it is stored.
func Record(apiKey string, limit int64, expires time.Time, routes ...string) string {
	record, err := json.Marshal(map[string]any{
		"api_key":        apiKey,
		"rate_limit":     limit,
		"expires_at":     expires.UTC().Format(time.RFC3339),
		"allowed_routes": routes,
	})
	if err != nil {
		panic(fmt.Sprintf("storetest: encoding a record: %v", err)) // strings and numbers always encode
	}
	return string(record)
}

// RunTokenStore checks that a store keeps the contract of
// [middleware.TokenStore]. The factory returns an empty one for every call.
func RunTokenStore(t *testing.T, factory func(testing.TB) TokenBackend) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, TokenBackend){
		"unknown":       tokenUnknown,
		"life":          tokenLife,
		"ttl":           tokenTTL,
		"neighbours":    tokenNeighbours,
		"invalid":       tokenInvalid,
		"wrong type":    tokenWrongType,
		"size":          tokenSize,
		"outage":        tokenOutage,
		"caller leaves": tokenCallerLeaves,
		"concurrency":   tokenConcurrency,
	} {
		t.Run(name, func(t *testing.T) { test(t, factory(t)) })
	}
}

// suiteKey is an api key as Mint makes them; it protects nothing.
const suiteKey = "Zm9yLXRlc3RzLW9ubHkhIQ"

func suiteExpiry() time.Time { return time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC) }

// CheckError reports an error that is not want, is another sentinel as well, or
// names the api key. It prints no error that names the key.
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

func lookup(t *testing.T, b TokenBackend, apiKey string, want error) {
	t.Helper()
	token, err := b.Store.Lookup(t.Context(), apiKey)
	CheckError(t, err, want, apiKey)
	if want != nil && token != nil {
		t.Error("a token came with the error")
	}
}

func lookupFinds(t *testing.T, b TokenBackend, limit int64, route string) {
	t.Helper()
	token, err := b.Store.Lookup(t.Context(), suiteKey)
	if err != nil {
		CheckError(t, err, nil, suiteKey)
		t.Fatal("the record was not found")
	}
	if token.RateLimit != limit || !token.ExpiresAt.Equal(suiteExpiry()) {
		t.Errorf("limit %d until %s, want %d until %s", token.RateLimit, token.ExpiresAt, limit, suiteExpiry())
	}
	if _, ok := token.Routes.Match("GET", route); !ok {
		t.Errorf("route %s is not allowed", route)
	}
}

func tokenUnknown(t *testing.T, b TokenBackend) { lookup(t, b, suiteKey, middleware.ErrTokenUnknown) }

func tokenLife(t *testing.T, b TokenBackend) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	lookupFinds(t, b, 10, "/a")
	b.Put(suiteKey, Record(suiteKey, 0, suiteExpiry(), "/b"), 0)
	lookupFinds(t, b, 0, "/b")
	b.Delete(suiteKey)
	lookup(t, b, suiteKey, middleware.ErrTokenUnknown)
	b.Put(suiteKey, Record(suiteKey, 7, suiteExpiry(), "/c"), 0)
	lookupFinds(t, b, 7, "/c")
}

func tokenTTL(t *testing.T, b TokenBackend) {
	const ttl = 500 * time.Millisecond
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), ttl)
	lookupFinds(t, b, 10, "/a")
	b.Advance(ttl + 50*time.Millisecond)
	lookup(t, b, suiteKey, middleware.ErrTokenUnknown)
}

// tokenNeighbours: keys that resemble each other are not one another.
func tokenNeighbours(t *testing.T, b TokenBackend) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	for _, key := range []string{
		strings.ToLower(suiteKey), suiteKey + ".", suiteKey + "-", suiteKey[:len(suiteKey)-1], "~" + suiteKey,
	} {
		lookup(t, b, key, middleware.ErrTokenUnknown)
	}
}

func tokenInvalid(t *testing.T, b TokenBackend) {
	for name, record := range map[string]string{
		"blank":             " ",
		"not JSON":          suiteKey,
		"cut short":         Record(suiteKey, 10, suiteExpiry(), "/a")[:30],
		"two values":        Record(suiteKey, 10, suiteExpiry()) + "{}",
		"a list":            "[]",
		"null":              "null",
		"no limit":          `{"expires_at":1}`,
		"negative limit":    Record(suiteKey, -1, suiteExpiry(), "/a"),
		"fractional limit":  `{"rate_limit":1.5,"expires_at":1}`,
		"no expiry":         `{"rate_limit":1}`,
		"routes no list":    `{"rate_limit":1,"expires_at":1,"allowed_routes":"/a"}`,
		"another's record":  Record("another", 10, suiteExpiry(), "/a"),
		"repeated member":   `{"rate_limit":1,"rate_limit":9,"expires_at":1}`,
		"not UTF-8, NUL":    "{\"\xff\x00",
		"key in a bad spot": `{"rate_limit":"` + suiteKey + `","expires_at":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			b.Put(suiteKey, record, 0)
			lookup(t, b, suiteKey, middleware.ErrRecordInvalid)
		})
	}
}

func tokenWrongType(t *testing.T, b TokenBackend) {
	b.PutUnreadable(suiteKey)
	lookup(t, b, suiteKey, middleware.ErrRecordInvalid)
}

// tokenSize: the largest record is accepted, a byte more is not, and neither is
// one that would cost a gateway its memory.
func tokenSize(t *testing.T, b TokenBackend) {
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

func tokenOutage(t *testing.T, b TokenBackend) {
	record := Record(suiteKey, 10, suiteExpiry(), "/a")
	b.Put(suiteKey, record, 0)
	lookupFinds(t, b, 10, "/a")
	b.Fail()
	for range 20 { // beyond any pool that still seemed healthy
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

// tokenCallerLeaves: a client that goes away says nothing about the store.
func tokenCallerLeaves(t *testing.T, b TokenBackend) {
	b.Put(suiteKey, Record(suiteKey, 10, suiteExpiry(), "/a"), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Store.Lookup(ctx, suiteKey)
	CheckError(t, err, nil, suiteKey)
}

func tokenConcurrency(t *testing.T, b TokenBackend) {
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

// await calls until there is no error; an error on the way must say that the
// store is unavailable.
func await(t *testing.T, call func() error) {
	t.Helper()
	for deadline := time.Now().Add(recovery); ; time.Sleep(10 * time.Millisecond) {
		err := call()
		if err == nil {
			return
		}
		CheckError(t, err, middleware.ErrUnavailable, suiteKey)
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("no recovery within %s", recovery)
		}
	}
}
