package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tyk_proxy/middleware"
)

// Fake is a [middleware.RecordStore] and a [middleware.Counter] in memory. The
// implementations on Redis are compared with it.
type Fake struct {
	window time.Duration
	now    func() time.Time

	mu      sync.Mutex
	failure error
	records map[string]fakeRecord
	counts  map[fakeCounter]int64
}

type fakeRecord struct {
	json       string
	unreadable bool
	expires    time.Time // zero means never
}

type fakeCounter struct {
	apiKey string
	start  int64
}

var (
	_ middleware.RecordStore = (*Fake)(nil)
	_ middleware.Counter     = (*Fake)(nil)
)

// NewFake returns an empty store and a counter of windows of whole seconds. If now
// is nil, it uses time.Now.
func NewFake(window time.Duration, now func() time.Time) *Fake {
	if now == nil {
		now = time.Now
	}
	return &Fake{
		window:  window,
		now:     now,
		records: make(map[string]fakeRecord),
		counts:  make(map[fakeCounter]int64),
	}
}

// Put stores the text of a record. If ttl is 0, it never expires.
func (f *Fake) Put(apiKey, record string, ttl time.Duration) {
	f.put(apiKey, fakeRecord{json: record}, ttl)
}

// PutUnreadable stores a value that is not a record, like a list in Redis.
func (f *Fake) PutUnreadable(apiKey string) { f.put(apiKey, fakeRecord{unreadable: true}, 0) }

func (f *Fake) put(apiKey string, r fakeRecord, ttl time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ttl > 0 {
		r.expires = f.now().Add(ttl)
	}
	f.records[apiKey] = r
}

// Delete removes a record.
func (f *Fake) Delete(apiKey string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.records, apiKey)
}

// Fail makes every call return [middleware.ErrUnavailable] with the cause err,
// until Fail(nil).
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// Lookup implements [middleware.RecordStore].
func (f *Fake) Lookup(_ context.Context, apiKey string) (*middleware.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure != nil {
		return nil, fmt.Errorf("%w: %w", middleware.ErrUnavailable, f.failure)
	}
	r, ok := f.records[apiKey]
	switch {
	case !ok, !r.expires.IsZero() && !f.now().Before(r.expires):
		return nil, middleware.ErrTokenUnknown
	case r.unreadable:
		return nil, middleware.ErrRecordInvalid
	}
	return middleware.ParseRecord(apiKey, []byte(r.json))
}

// Count implements [middleware.Counter]: the fixed window in plain Go.
func (f *Fake) Count(_ context.Context, apiKey string, limit int64) (middleware.Quota, error) {
	return f.use(apiKey, limit, 1)
}

// Quota returns the state of a key's window without counting a request.
func (f *Fake) Quota(apiKey string, limit int64) (middleware.Quota, error) {
	return f.use(apiKey, limit, 0)
}

func (f *Fake) use(apiKey string, limit, requests int64) (middleware.Quota, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure != nil {
		return middleware.Quota{}, fmt.Errorf("%w: %w", middleware.ErrUnavailable, f.failure)
	}
	now := f.now()
	seconds := int64(f.window / time.Second)
	counter := fakeCounter{apiKey: apiKey, start: now.Unix() / seconds * seconds}
	f.counts[counter] += requests
	end := time.Unix(counter.start+seconds, 0)
	return middleware.Quota{
		Limit:   limit,
		Used:    f.counts[counter],
		Window:  f.window,
		Reset:   end.Sub(now),
		ResetAt: end,
		Source:  middleware.SourceRedis,
	}, nil
}
