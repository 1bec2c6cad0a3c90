package redisstore

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// CounterPrefix begins the key of a counter; an api key, a colon and the
// window's start in Unix seconds follow.
const CounterPrefix = "rate_count:"

// counterGrace is how long a counter outlives its window, so that a request
// which is counted at the very end finds it.
const counterGrace = time.Second

// windowAttempts bounds how often a request looks for its window: once with
// the clock as known, once corrected, and once more if a boundary passes just
// then.
const windowAttempts = 3

//go:embed window.lua
var windowLua string

// Counter is the [middleware.Counter] on Redis: one script, one round trip,
// exact across any number of gateways.
//
// All gateways agree on the window because Redis' clock alone decides. A
// script may only touch keys that its caller named, and the key carries the
// window's start; so the gateway names the window it believes to be current,
// and the script counts only if Redis' clock says the same. If not, nothing
// is counted, the gateway takes the difference between the clocks from the
// reply and asks again. It remembers that difference, so a gateway whose clock
// is wrong pays the second round trip once, not for every request.
type Counter struct {
	client redis.UniversalClient
	script *redis.Script
	window time.Duration
	budget time.Duration
	now    func() time.Time
	offset atomic.Int64 // Redis' clock minus ours, nanoseconds
}

// NewCounter returns a counter of windows of whole seconds, aligned to the Unix
// epoch. The budget bounds one Count; now may be nil for time.Now.
func NewCounter(client redis.UniversalClient, window, budget time.Duration, now func() time.Time) *Counter {
	if now == nil {
		now = time.Now
	}
	return &Counter{
		client: client,
		script: redis.NewScript(windowLua),
		window: window,
		budget: budget,
		now:    now,
	}
}

// ClockOffset returns how far Redis' clock was ahead of ours when they were
// last compared, give or take half a round trip.
func (c *Counter) ClockOffset() time.Duration { return time.Duration(c.offset.Load()) }

// Count implements [middleware.Counter].
func (c *Counter) Count(ctx context.Context, apiKey string) (middleware.Usage, error) {
	ctx, cancel := withBudget(ctx, c.budget)
	defer cancel()
	believed := c.now().Add(c.ClockOffset())
	for range windowAttempts {
		reply, err := c.countAt(ctx, apiKey, c.windowStart(believed))
		switch {
		case err != nil:
			return middleware.Usage{}, unavailable(err)
		case reply.counted && reply.count < 1:
			// Somebody else wrote it: it would admit more than the limit.
			return middleware.Usage{}, unavailable(errors.New("the counter is below 1"))
		case reply.counted:
			end := c.windowStart(reply.clock).Add(c.window)
			return middleware.Usage{Count: reply.count, Window: c.window, Reset: end.Sub(reply.clock), End: end}, nil
		}
		believed = reply.clock
	}
	return middleware.Usage{}, unavailable(errors.New("the window changed faster than Redis answered"))
}

func (c *Counter) windowStart(t time.Time) time.Time {
	seconds := int64(c.window / time.Second)
	return time.Unix(t.Unix()-t.Unix()%seconds, 0)
}

// countReply is what the script answers.
type countReply struct {
	counted bool
	count   int64
	clock   time.Time // Redis'
}

// countAt runs the script and compares the clocks.
func (c *Counter) countAt(ctx context.Context, apiKey string, start time.Time) (countReply, error) {
	second := strconv.FormatInt(start.Unix(), 10)
	asked := c.now()
	reply, err := c.script.Run(ctx, c.client, []string{CounterPrefix + apiKey + ":" + second},
		second, int64(c.window/time.Second), (c.window + counterGrace).Milliseconds()).Int64Slice()
	if err != nil {
		return countReply{}, err
	}
	if len(reply) != 4 {
		return countReply{}, fmt.Errorf("script replied with %d values, not 4", len(reply))
	}
	clock := time.Unix(reply[2], reply[3]*int64(time.Microsecond))
	roundTrip := c.now().Sub(asked)
	c.offset.Store(int64(clock.Sub(asked.Add(roundTrip / 2))))
	return countReply{counted: reply[0] == 1, count: reply[1], clock: clock}, nil
}
