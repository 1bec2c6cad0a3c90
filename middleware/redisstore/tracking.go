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

// The capacity of the client-side cache. Other records are read from Redis.
const (
	trackedRecords = 32768
	trackedBytes   = 24 << 20
)

// trackedStaleness bounds how long a record is served from memory if the notice of
// a change is lost although the connection works.
const trackedStaleness = time.Second

// trackingPool is the number of connections that read records into memory. Each
// reads one record at a time. If all are busy, a record is read over the shared
// connection, which costs a fifth: so many misses at the same time, after a
// flush or because there are more records than fit, need not wait.
const trackingPool = 4

// recordCache is the client-side cache of a Client. Redis tracks which records its
// connections have read and notifies them of changes; go-redis handles the
// notices.
type recordCache struct {
	mu      sync.Mutex // guards changes of current
	closed  bool
	current atomic.Pointer[redis.Client] // nil while nothing is served from memory

	reading      atomic.Int32 // connections in use
	hits, misses atomic.Uint64
}

// renewRecords replaces the cache by an empty one, or by none if Redis does not
// support tracking.
func (c *Client) renewRecords(ctx context.Context) {
	if !c.options.ClientSideCache || c.options.DB != 0 { // go-redis v9.23 tracks database 0 only
		return
	}
	o := c.options.base()
	o.Protocol = 3
	o.PoolSize = trackingPool
	o.PipelinePoolSize = -1
	o.ContextTimeoutEnabled = true // so that callers stop waiting when Redis falls silent
	// ClientSideCacheCoalesceMisses stays off: it uses a connection that go-redis
	// v9.23 does not read while it is idle, so records that were read over it are
	// served for a while after it broke.
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

// tracks reports whether a second read is answered from memory.
func tracks(ctx context.Context, client *redis.Client) bool {
	if client.Process(ctx, newGetRange(ctx, probeRecord, 1)) != nil {
		return false
	}
	_, found := peek(ctx, client, probeRecord, 1)
	return found
}

// replace makes a client the current one. If it is nil, all records are read from
// Redis.
func (r *recordCache) replace(client *redis.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed && client != nil {
		_ = client.Close() // nothing is buffered
		client = nil
	}
	if old := r.current.Swap(client); old != nil {
		_ = old.Close() // callers that still use it read again
	}
}

// drop empties the cache.
func (r *recordCache) drop() {
	if old := r.current.Swap(nil); old != nil {
		go func() { _ = old.Close() }() // closing may wait for reads
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

// recordBytes is how much of a record is read: one byte more than the largest that
// is accepted, so that a larger one is recognised.
const recordBytes = middleware.MaxRecordSize + 1

// record returns the text of a record, or "" if there is none.
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

// recordFromRedis reads a second time if the connection broke, unless Redis is
// silent or the queue is full.
func (c *Client) recordFromRedis(ctx context.Context, key string) (string, error) {
	send := c.sendTracked
	for attempt := 0; ; attempt++ {
		cmd := newGetRange(ctx, key, recordBytes)
		err := c.observe(ctx, cmd, send)
		switch {
		case err == nil:
			return cmd.Val(), nil
		case attempt > 0, replied(err) && !wrongServer(err), errors.Is(err, redis.ErrAutoPipelineQueueFull),
			c.silence.epoch.Load().silent != nil:
			return "", err
		}
		send = c.send
	}
}

// sendTracked reads a record into memory, or over the shared connection if there is
// no cache or all its connections are busy. A timeout begins a silence if the
// shared connection received nothing either.
func (c *Client) sendTracked(ctx context.Context, cmd redis.Cmder) error {
	tracked, epoch := c.records.current.Load(), c.silence.epoch.Load()
	if tracked == nil || epoch.silent != nil {
		return c.send(ctx, cmd)
	}
	defer c.records.reading.Add(-1)
	if c.records.reading.Add(1) > trackingPool {
		return c.send(ctx, cmd)
	}
	err := tracked.Process(epoch.ctx, cmd) //nolint:contextcheck // only a silence ends the wait
	if err != nil && timedOut(err) && !c.silence.heardLately() {
		c.silence.suspect(err)
	}
	return err
}

// peek returns a record from memory. It sends nothing to Redis.
func peek(ctx context.Context, tracked *redis.Client, key string, bytes int) (string, bool) {
	impatient := &impatientContext{Context: ctx}
	cmd := newGetRange(ctx, key, bytes)
	if err := tracked.Process(impatient, cmd); err != nil { //nolint:contextcheck // impatient is made from ctx
		return "", false
	}
	return cmd.Val(), !impatient.done.Load()
}

// impatientContext is a context that is cancelled by the first call of Done.
// go-redis v9.23 has no lookup of its cache alone: it looks there first, and
// calls Done only before it waits for a connection.
type impatientContext struct {
	context.Context

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
