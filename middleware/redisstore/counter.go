package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"tyk_proxy/middleware"
)

// CounterPrefix begins the key of a counter; an api key, a colon and the
// window's start in Unix seconds follow.
const CounterPrefix = "rate_count:"

// counterGrace is how long a counter exists after its window ends, so that a
// request at the very end of the window still finds it.
const counterGrace = time.Second

// windowAttempts bounds the attempts to count a request in its window: one with
// the clock as known, one with the corrected clock, and one more if the window
// ends in between.
const windowAttempts = 3

// Counter is the [middleware.Counter] on Redis: one script, one round trip,
// exact across any number of gateways.
//
// All gateways agree on the window because only Redis' clock decides. A script
// may only use keys that its caller names, and the key contains the window's
// start. So the gateway names the window it believes to be current, and the
// script counts only if Redis' clock agrees. If it does not, nothing is counted;
// the gateway learns the difference between the clocks from the reply and asks
// again. It remembers the difference, so a gateway whose clock is wrong pays the
// second round trip once, not for every request.
type Counter struct {
	client *Client
	window time.Duration
	now    func() time.Time
	spent  spentCache
	script windowScript
	offset atomic.Int64 // Redis' clock minus ours, nanoseconds
}

// NewCounter returns a counter of windows of whole seconds, aligned to the Unix
// epoch. If now is nil, it uses time.Now.
func NewCounter(client *Client, window time.Duration, now func() time.Time) *Counter {
	if now == nil {
		now = time.Now
	}
	return &Counter{client: client, window: window, now: now, spent: newSpentCache(), script: newWindowScript()}
}

// ClockOffset returns how far Redis' clock was ahead of ours when they were last
// compared. The error is at most half a round trip.
func (c *Counter) ClockOffset() time.Duration { return time.Duration(c.offset.Load()) }

// Count implements [middleware.Counter].
func (c *Counter) Count(ctx context.Context, apiKey string, limit int64) (middleware.Quota, error) {
	now := c.now()
	believed := now.Add(c.ClockOffset())
	if err := c.client.Available(); err != nil {
		return middleware.Quota{}, err
	}
	if quota, ok := c.spent.find(apiKey, limit, c.windowStart(believed), now, believed, c.window); ok {
		return quota, nil
	}
	for range windowAttempts {
		asked := c.now()
		reply, err := c.countAt(ctx, apiKey, c.windowStart(believed), asked)
		switch {
		case err != nil:
			return middleware.Quota{}, unavailable(err)
		case reply.counted && reply.count < 1:
			// Another program wrote it. It would admit more than the limit.
			return middleware.Quota{}, unavailable(errors.New("the counter is below 1"))
		case reply.counted:
			end := time.Unix(reply.start, 0).Add(c.window)
			c.spent.learn(apiKey, limit, reply, asked, end)
			return middleware.Quota{
				Limit: limit, Used: reply.count, Window: c.window, Reset: end.Sub(reply.clock), ResetAt: end,
				Source: middleware.SourceRedis,
			}, nil
		}
		believed = reply.clock
	}
	return middleware.Quota{}, unavailable(errors.New("the window changed faster than Redis answered"))
}

// windowStart returns when the window of a time began, Unix seconds.
func (c *Counter) windowStart(t time.Time) int64 {
	return t.Unix() - t.Unix()%int64(c.window/time.Second)
}

// countReply is the script's reply.
type countReply struct {
	counted bool
	count   int64
	start   int64     // of the window, Unix seconds
	clock   time.Time // of Redis
}

// countAt runs the script and compares the clocks.
func (c *Counter) countAt(ctx context.Context, apiKey string, start int64, asked time.Time) (countReply, error) {
	reply, err := c.script.run(ctx, c.client.Process, counterKey(apiKey, start), start,
		int64(c.window/time.Second), c.window+counterGrace)
	if err != nil {
		return countReply{}, err
	}
	if len(reply) != 4 {
		return countReply{}, fmt.Errorf("script replied with %d values, not 4", len(reply))
	}
	clock := time.Unix(reply[2], reply[3]*int64(time.Microsecond))
	roundTrip := c.now().Sub(asked)
	c.offset.Store(int64(clock.Sub(asked.Add(roundTrip / 2))))
	return countReply{counted: reply[0] == 1, count: reply[1], start: start, clock: clock}, nil
}
