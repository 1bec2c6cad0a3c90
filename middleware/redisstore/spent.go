package redisstore

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"tyk_proxy/middleware"
)

// spentKeys bounds the keys that are remembered. Redis is asked about all others.
const spentKeys = 32768

// spentTime bounds how long a key is refused without asking Redis. It limits the
// effect of a counter that was deleted, or of a clock of Redis that was set
// back.
const spentTime = time.Second

// spentCache holds the keys that used up their windows. A count cannot fall
// before its window ends, so such a key is refused without asking Redis. It is
// safe for concurrent use.
type spentCache struct {
	keys *lru.Cache[string, spent]
}

// spent is what is known of a key.
type spent struct {
	limit, count int64
	start        int64     // of the window, Unix seconds
	from, until  time.Time // period for which this holds, by our clock
}

func newSpentCache() spentCache {
	keys, _ := lru.New[string, spent](spentKeys) // the only error is a size below 1
	return spentCache{keys}
}

// learn stores a reply of the script. asked is when the script was called: Redis
// read its clock later, so the window lasts at least until asked plus the rest of
// the window in the reply.
func (c spentCache) learn(apiKey string, limit int64, reply countReply, asked, end time.Time) {
	if reply.count < limit {
		return
	}
	until := asked.Add(min(end.Sub(reply.clock), spentTime))
	c.keys.Add(apiKey, spent{limit, reply.count, reply.start, asked, until})
}

// find returns the quota of a key that is known to have used up the window that
// began at start. now is our time; clock is Redis' time as far as we know.
func (c spentCache) find(apiKey string, limit, start int64, now, clock time.Time, window time.Duration) (middleware.Quota, bool) {
	s, ok := c.keys.Get(apiKey)
	if !ok || s.limit != limit || s.start != start || now.Before(s.from) || !now.Before(s.until) {
		return middleware.Quota{}, false
	}
	end := time.Unix(start, 0).Add(window)
	return middleware.Quota{
		Limit: limit, Used: max(s.count, limit+1), Window: window, Reset: end.Sub(clock), ResetAt: end,
		Source: middleware.SourceMemory,
	}, true
}
