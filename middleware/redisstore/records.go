package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// RecordPrefix begins the key of a record; the api key follows.
const RecordPrefix = "token:"

// Records is the [middleware.RecordStore] on Redis.
type Records struct {
	client *Client
	parsed *parsedCache
}

// NewRecords returns the store.
func NewRecords(client *Client) *Records {
	return &Records{client: client, parsed: newParsedCache()}
}

// Lookup implements [middleware.RecordStore]. It reads with GETRANGE, so that a
// record of any size costs no more than the largest one that is accepted.
func (r *Records) Lookup(ctx context.Context, apiKey string) (*middleware.Record, error) {
	text, err := r.client.record(ctx, RecordPrefix+apiKey)
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, fmt.Errorf("%w: not a string", middleware.ErrRecordInvalid)
	case err != nil:
		return nil, unavailable(err)
	case text == "":
		return nil, middleware.ErrTokenUnknown // GETRANGE of an absent key is empty
	}
	return r.parsed.parse(apiKey, text)
}

// The capacity of the cache of parsed records: entries, and the bytes of memory
// that they take.
const (
	parsedRecords = 32768
	parsedBytes   = 32 << 20
)

// size estimates the memory that a record takes, in bytes: its text, about 150
// for each rule, and 600 for the rest. Commas separate the rules.
func size(text string) int { return len(text) + 150*strings.Count(text, ",") + 600 }

// parsedCache holds the last text of each api key and the record parsed from it.
// An entry is never stale, because parse compares the text each time. It is safe
// for concurrent use.
type parsedCache struct {
	mu      sync.Mutex
	entries *simplelru.LRU[string, parsedRecord]
	bytes   int
}

type parsedRecord struct {
	text   string
	record *middleware.Record
}

func newParsedCache() *parsedCache {
	c := &parsedCache{}
	// The only error is a size below 1.
	c.entries, _ = simplelru.NewLRU(parsedRecords, func(_ string, r parsedRecord) { c.bytes -= size(r.text) })
	return c
}

// parse is [middleware.ParseRecord] for a text that may be the last one.
func (c *parsedCache) parse(apiKey, text string) (*middleware.Record, error) {
	c.mu.Lock()
	last, ok := c.entries.Get(apiKey)
	c.mu.Unlock()
	if ok && last.text == text {
		return last.record, nil
	}
	record, err := middleware.ParseRecord(apiKey, []byte(text))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Remove(apiKey) // subtracts its bytes
	c.entries.Add(apiKey, parsedRecord{text, record})
	for c.bytes += size(text); c.bytes > parsedBytes; {
		c.entries.RemoveOldest()
	}
	return record, nil
}
