package redisstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// The size of the client-side cache. What exceeds it is read from Redis.
const (
	trackedRecords = 32768
	trackedBytes   = 24 << 20
)

// trackedStaleness bounds how long a record is served from memory if Redis'
// notice of a change is lost on its way and the connection seems well.
const trackedStaleness = time.Second

// trackingPool is the number of connections that read records into memory, one
// at a time each. What exceeds them is read over the shared connection, at a
// fifth of the cost: misses that come all at once, because there are more
// records than fit or after a flush, wait for nothing.
const trackingPool = 4

// recordCache is the client-side cache of a Client. Redis tracks which records
// its connections have read and tells them of changes, which go-redis applies.
type recordCache struct {
	mu      sync.Mutex // of changes to current
	closed  bool
	current atomic.Pointer[redis.Client] // nil while nothing is served from memory

	reading      atomic.Int32 // connections in use
	hits, misses atomic.Uint64
}

// renewRecords begins with an empty cache, if Redis tracks what is read.
func (c *Client) renewRecords(ctx context.Context) {
	if !c.options.ClientSideCache || c.options.DB != 0 { // go-redis tracks database 0 alone
		return
	}
	o := c.options.base()
	o.Protocol = 3
	o.PoolSize = trackingPool
	o.PipelinePoolSize = -1
	o.ContextTimeoutEnabled = true // who waits for another's answer leaves when Redis falls silent
	// ClientSideCacheCoalesceMisses stays off: an idle connection of its own is
	// not read, and what it read is served for a while after it broke.
	o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{
		MaxEntries: trackedRecords, MaxMemoryBytes: trackedBytes, MaxStaleness: trackedStaleness,
	}
	client := redis.NewClient(o)
	ctx, cancel := context.WithTimeout(ctx, c.prober.budget)
	defer cancel()
	if !tracks(ctx, client) {
		_ = client.Close() // nothing is buffered
		client = nil
	}
	c.records.replace(client)
}

// tracks reports whether a second reading is answered from memory.
func tracks(ctx context.Context, client *redis.Client) bool {
	if client.Process(ctx, newGetRange(ctx, probeRecord, 1)) != nil {
		return false
	}
	_, found := peek(ctx, client, probeRecord, 1)
	return found
}

// replace makes a client the current one; nil has all records read from Redis.
func (r *recordCache) replace(client *redis.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed && client != nil {
		_ = client.Close() // nothing is buffered
		client = nil
	}
	if old := r.current.Swap(client); old != nil {
		_ = old.Close() // whoever still reads over it reads again
	}
}

// drop empties the cache.
func (r *recordCache) drop() {
	if old := r.current.Swap(nil); old != nil {
		go func() { _ = old.Close() }() // closing may wait for those who read
	}
}

func (r *recordCache) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.replace(nil)
}

func (r *recordCache) stats(s *Stats) {
	s.CacheHits, s.CacheMisses = r.hits.Load(), r.misses.Load()
	if client := r.current.Load(); client != nil {
		s.CacheEntries = int64(client.CSCStats().Entries)
	}
}

// recordBytes is how much of a record is read: enough to see that one is larger
// than the largest that is accepted.
const recordBytes = middleware.MaxRecordSize + 1

// record returns the text of a record, or "" where there is none.
func (c *Client) record(ctx context.Context, key string) (string, error) {
	tracked := c.records.current.Load()
	if tracked != nil && c.silence.epoch.Load().silent == nil {
		if text, ok := peek(ctx, tracked, key, recordBytes); ok {
			c.records.hits.Add(1)
			return text, nil
		}
		c.records.misses.Add(1)
	}
	return c.recordFromRedis(ctx, key)
}

// recordFromRedis reads a second time where the connection broke, which is
// harmless, unless Redis is silent or busy.
func (c *Client) recordFromRedis(ctx context.Context, key string) (string, error) {
	send := c.sendTracked
	for attempt := 0; ; attempt++ {
		cmd := newGetRange(ctx, key, recordBytes)
		err := c.observe(ctx, cmd, send)
		switch {
		case err == nil:
			return cmd.Val(), nil
		case attempt > 0, replied(err), errors.Is(err, redis.ErrAutoPipelineQueueFull),
			c.silence.epoch.Load().silent != nil:
			return "", err
		}
		send = c.send
	}
}

// sendTracked reads a record into memory, or over the shared connection where
// that is not possible now. A timeout means silence where the shared connection
// has heard nothing either.
func (c *Client) sendTracked(ctx context.Context, cmd redis.Cmder) error {
	tracked, epoch := c.records.current.Load(), c.silence.epoch.Load()
	if tracked == nil || epoch.silent != nil {
		return c.send(ctx, cmd)
	}
	defer c.records.reading.Add(-1)
	if c.records.reading.Add(1) > trackingPool {
		return c.send(ctx, cmd)
	}
	err := tracked.Process(epoch.ctx, cmd) //nolint:contextcheck // a silence ends the wait, its caller does not
	if err != nil && timedOut(err) && !c.silence.heardLately() {
		c.silence.suspect(err)
	}
	return err
}

// peek returns what is in memory, and asks Redis for nothing.
func peek(ctx context.Context, tracked *redis.Client, key string, bytes int) (string, bool) {
	impatient := &impatientContext{Context: ctx}
	cmd := newGetRange(ctx, key, bytes)
	if err := tracked.Process(impatient, cmd); err != nil { //nolint:contextcheck // impatient is made from ctx
		return "", false
	}
	return cmd.Val(), !impatient.done.Load()
}

// impatientContext is done as soon as somebody waits on it.
type impatientContext struct {
	context.Context //nolint:containedctx // it is one

	done atomic.Bool
}

// Done implements context.Context.
func (c *impatientContext) Done() <-chan struct{} {
	c.done.Store(true)
	closed := make(chan struct{})
	close(closed)
	return closed
}

// Err implements context.Context.
func (c *impatientContext) Err() error {
	if c.done.Load() {
		return context.Canceled
	}
	return nil
}
