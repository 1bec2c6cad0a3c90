package redisstore

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"tyk_proxy/middleware"
)

// spentKeys bounds how many keys that used up their windows are remembered. One
// that is forgotten is asked for.
const spentKeys = 32768

// spentTime bounds how long a key is refused without asking Redis. It bounds
// what a counter that somebody deleted, or a clock of Redis that somebody set
// back, can do.
const spentTime = time.Second

// spentCache has the keys that used up their windows. A count cannot fall while
// its window lasts, so refusing such a key needs no Redis. It is safe for
// concurrent use.
type spentCache struct {
	keys *lru.Cache[string, spent]
}

// spent is what was learned of a key.
type spent struct {
	limit, count int64
	start        int64     // of the window, Unix seconds
	from, until  time.Time // when it holds, by our clock
}

func newSpentCache() spentCache {
	keys, _ := lru.New[string, spent](spentKeys) // the size is valid, and all else about it cannot fail
	return spentCache{keys}
}

// learn notes a reply of the script that was asked for at a time. Redis looked at
// its clock after that, so the window surely lasts until asked plus what Redis
// said was left of it.
func (c spentCache) learn(apiKey string, limit int64, reply countReply, asked, end time.Time) {
	if reply.count < limit {
		return
	}
	until := asked.Add(min(end.Sub(reply.clock), spentTime))
	c.keys.Add(apiKey, spent{limit, reply.count, reply.start, asked, until})
}

// find returns the usage of a key that used up the window that began at start,
// if that is known. now is our clock; clock is Redis', as far as we know.
func (c spentCache) find(apiKey string, limit, start int64, now, clock time.Time, window time.Duration) (middleware.Usage, bool) {
	s, ok := c.keys.Get(apiKey)
	if !ok || s.limit != limit || s.start != start || now.Before(s.from) || !now.Before(s.until) {
		return middleware.Usage{}, false
	}
	end := time.Unix(start, 0).Add(window)
	return middleware.Usage{
		Count: max(s.count, limit+1), Window: window, Reset: end.Sub(clock), End: end, Source: middleware.SourceMemory,
	}, true
}
