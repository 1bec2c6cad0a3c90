package redisstore

import (
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"tyk_proxy/middleware"
)

// The size of the cache of parsed records: by number, and by what they take in
// memory, in bytes.
const (
	parsedRecords = 32768
	parsedBytes   = 32 << 20
)

// size estimates what a record takes in memory, in bytes: its text, about 150
// for each rule, and 600 for the rest. Rules are separated by commas.
func size(text string) int { return len(text) + 150*strings.Count(text, ",") + 600 }

// parsedCache has for each api key the text that was parsed last and what came
// of it. It is never stale, since the text is compared each time. It is safe for
// concurrent use.
type parsedCache struct {
	mu      sync.Mutex
	records *simplelru.LRU[string, parsedRecord]
	bytes   int
}

type parsedRecord struct {
	text  string
	token *middleware.Token
}

func newParsedCache() *parsedCache {
	c := &parsedCache{}
	// The size is valid, and all else about it cannot fail.
	c.records, _ = simplelru.NewLRU(parsedRecords, func(_ string, r parsedRecord) { c.bytes -= size(r.text) })
	return c
}

// parse is [middleware.ParseToken] for a text that may be the last one.
func (c *parsedCache) parse(apiKey, text string) (*middleware.Token, error) {
	c.mu.Lock()
	last, ok := c.records.Get(apiKey)
	c.mu.Unlock()
	if ok && last.text == text {
		return last.token, nil
	}
	token, err := middleware.ParseToken(apiKey, []byte(text))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records.Remove(apiKey) // which counts its bytes
	c.records.Add(apiKey, parsedRecord{text, token})
	for c.bytes += size(text); c.bytes > parsedBytes; {
		c.records.RemoveOldest()
	}
	return token, nil
}
