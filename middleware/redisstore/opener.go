package redisstore

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxOpeners bounds the connections that are opened in the background at once,
// and they take no more than half of the pool: a Redis that is slow must not be
// buried under handshakes, nor requests wait for them.
const maxOpeners = 8

// handshakesSlow is how long after a command that ran out of time connections
// are opened in the background.
const handshakesSlow = 10 * time.Second

// opener is a go-redis hook that opens connections where requests cannot. A new
// connection costs a dial and a handshake, which go-redis does within the budget
// of the command that needs the connection, and closes it where that runs out.
// If each of the two answers takes more than half a budget, no request would
// ever see a connection that is open. So once a command ran out of time, those
// that find no idle connection have one opened beside them, with time enough,
// for those that follow.
type opener struct {
	client *redis.Client
	most   int32         // openers at once
	budget time.Duration // for a dial and two replies
	busy   atomic.Int32
	until  atomic.Int64 // when handshakes are no longer taken for slow, Unix nanoseconds
}

func openBehind(client *redis.Client, o Options) {
	most := min(maxOpeners, client.Options().PoolSize/2)
	if most == 0 {
		return
	}
	client.AddHook(&opener{client: client, most: int32(most), budget: o.DialTimeout + 2*o.Timeout}) //nolint:gosec // at most maxOpeners
}

type openingKey struct{}

// DialHook implements [redis.Hook].
func (*opener) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (*opener) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements [redis.Hook].
func (o *opener) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if ctx.Value(openingKey{}) != nil {
			return next(ctx, cmd)
		}
		if until := o.until.Load(); until != 0 && time.Now().UnixNano() < until {
			o.openIfNone() //nolint:contextcheck // it is no part of the request or its trace
		}
		err := next(ctx, cmd)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			o.until.Store(time.Now().Add(handshakesSlow).UnixNano())
			o.openIfNone() //nolint:contextcheck // it is no part of the request or its trace
		}
		return err
	}
}

// openIfNone opens a connection in the background if none is idle, unless
// enough are being opened.
func (o *opener) openIfNone() {
	if o.client.PoolStats().IdleConns > 0 {
		return
	}
	if o.busy.Add(1) > o.most {
		o.busy.Add(-1)
		return
	}
	go func() {
		defer o.busy.Add(-1)
		ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), openingKey{}, true), o.budget)
		defer cancel()
		_ = o.client.Ping(ctx).Err() // whoever needs the connection learns whether it is there
	}()
}
