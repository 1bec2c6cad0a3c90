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

// trackingPool bounds the connections for records that are not in memory and
// cannot be asked for together with others.
const trackingPool = 4

// recordCache is the client-side cache of a Client. Redis tracks which records
// its connections have read and tells them of changes, which go-redis applies.
type recordCache struct {
	mu      sync.Mutex // of changes to current
	closed  bool
	current atomic.Pointer[redis.Client] // nil while nothing is served from memory

	hits, misses atomic.Uint64 // of clients that are no longer current
}

// renewRecords begins with an empty cache, if Redis tracks what is read.
func (c *Client) renewRecords() {
	if !c.options.ClientSideCache || c.options.DB != 0 { // go-redis tracks database 0 alone
		return
	}
	o := c.options.base()
	o.Protocol = 3
	o.PoolSize, o.PoolTimeout = trackingPool, mostWait
	o.PipelinePoolSize = -1
	o.ContextTimeoutEnabled = true // those who wait leave when Redis falls silent
	o.ClientSideCacheCoalesceMisses = true
	o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{
		MaxEntries: trackedRecords, MaxMemoryBytes: trackedBytes, MaxStaleness: trackedStaleness,
	}
	client := redis.NewClient(o)
	ctx, cancel := context.WithTimeout(context.Background(), c.prober.budget)
	defer cancel()
	if !tracks(ctx, client) {
		_ = client.Close() // nothing is buffered
		client = nil
	}
	c.records.replace(client)
}

// mostWait bounds the wait for a connection that reads a record. Waiting is no
// outage; a silence ends it.
const mostWait = 10 * time.Second

// tracks reports whether a second reading is answered from memory.
func tracks(ctx context.Context, client *redis.Client) bool {
	if client.Process(ctx, newGetRange(probeRecord, 0, 0)) != nil {
		return false
	}
	_, found := peek(client, newGetRange(probeRecord, 0, 0))
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
		stats := old.CSCStats()
		r.hits.Add(stats.Hits)
		r.misses.Add(stats.Misses)
		_ = old.Close() // whoever still reads over it reads again
	}
}

// drop empties the cache.
func (r *recordCache) drop() {
	if r.current.Load() != nil {
		go r.replace(nil) // closing waits for those who read
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
		stats := client.CSCStats()
		s.CacheHits += stats.Hits
		s.CacheMisses += stats.Misses
		s.CacheEntries = int64(stats.Entries)
	}
}

// record returns the text of a record, or "" where there is none.
func (c *Client) record(ctx context.Context, key string) (string, error) {
	cmd := newGetRange(key, 0, middleware.MaxRecordSize)
	tracked := c.records.current.Load()
	if tracked == nil || c.silence.epoch.Load().silent != nil {
		return c.recordFromRedis(ctx, cmd)
	}
	if c.instrument != nil && c.instrument.Traced(ctx) {
		if value, ok := peek(tracked, cmd); ok {
			return value, nil
		}
		return c.recordFromRedis(ctx, cmd) // its hooks, then fetch
	}
	started := time.Now()
	value, asked, err := c.recordFrom(tracked, cmd)
	if asked && c.instrument != nil {
		c.instrument.Command(ctx, commandName(cmd), started, time.Since(started), err)
	}
	if err == nil || replied(err) || c.silence.epoch.Load().silent != nil {
		return value, err
	}
	return c.recordFromRedis(ctx, cmd)
}

// recordFromRedis reads a second time where the connection broke, which is
// harmless, unless Redis is silent or busy.
func (c *Client) recordFromRedis(ctx context.Context, cmd *redis.StringCmd) (string, error) {
	for attempt := 0; ; attempt++ {
		own := redis.NewStringCmd(context.Background(), cmd.Args()...)
		err := c.Process(ctx, own)
		switch {
		case err == nil:
			return own.Val(), nil
		case attempt > 0, replied(err), errors.Is(err, redis.ErrAutoPipelineQueueFull),
			c.silence.epoch.Load().silent != nil:
			return "", err
		}
	}
}

// fetch runs a command that reads a record for a trace that is recorded live.
func (c *Client) fetch(cmd *redis.StringCmd) (string, error) {
	if tracked := c.records.current.Load(); tracked != nil && c.silence.epoch.Load().silent == nil {
		value, _, err := c.recordFrom(tracked, cmd)
		if err == nil || replied(err) || c.silence.epoch.Load().silent != nil {
			return value, err
		}
	}
	own := redis.NewStringCmd(context.Background(), cmd.Args()...)
	if err := c.send(own); err != nil {
		return "", err
	}
	return own.Val(), nil
}

// recordFrom reads through the cache and reports whether Redis was asked. A
// timeout means silence where the shared connection has heard nothing either.
func (c *Client) recordFrom(tracked *redis.Client, cmd *redis.StringCmd) (value string, asked bool, err error) {
	epoch := c.silence.epoch.Load()
	if epoch.silent != nil {
		return "", true, epoch.silent
	}
	ctx := &watchedContext{Context: epoch.ctx}
	own := redis.NewStringCmd(context.Background(), cmd.Args()...)
	switch err := tracked.Process(ctx, own); {
	case err == nil:
		return own.Val(), ctx.waited.Load(), nil
	case epoch.ctx.Err() != nil:
		return "", true, context.Cause(epoch.ctx)
	default:
		if timedOut(err) && !c.silence.heardLately() {
			c.silence.fall(err)
		}
		return "", true, err
	}
}

// watchedContext notes whether somebody waited on it: go-redis answers from
// memory without.
type watchedContext struct {
	context.Context //nolint:containedctx // it is one

	waited atomic.Bool
}

// Done implements context.Context.
func (c *watchedContext) Done() <-chan struct{} {
	c.waited.Store(true)
	return c.Context.Done()
}

// peek returns what is in memory, and asks Redis for nothing.
func peek(client *redis.Client, cmd *redis.StringCmd) (string, bool) {
	own := redis.NewStringCmd(context.Background(), cmd.Args()...)
	ctx := &impatientContext{Context: context.Background()}
	if client.Process(ctx, own) != nil {
		return "", false
	}
	return own.Val(), !ctx.done.Load()
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
