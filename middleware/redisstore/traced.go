package redisstore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// processTraced runs a command through the hooks of the traced client. The hook
// that hands it over is added at the first use, since go-redis calls the hook
// that was added last right before it sends.
func (c *Client) processTraced(ctx context.Context, cmd redis.Cmder) error {
	c.tracedOnce.Do(func() { c.traced.AddHook(handover{c}) })
	return c.traced.Process(context.WithoutCancel(ctx), cmd)
}

// handover is a go-redis hook that runs a copy of a command on the shared
// connection and copies its answer back. The command itself must not go there:
// the hooks around this one read it when they are done, and one that was given
// up may still be written to.
type handover struct{ client *Client }

// DialHook implements [redis.Hook].
func (handover) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (handover) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements [redis.Hook]. A command of a kind that requests do not
// need goes over a connection of the traced client.
func (h handover) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		switch original := cmd.(type) {
		case *redis.StringCmd:
			answered, err := h.readRecord(ctx, original)
			if err != nil {
				original.SetErr(err) // as the hooks expect it
				return err
			}
			original.SetVal(answered)
		case *redis.IntSliceCmd:
			answered := redis.NewIntSliceCmd(ctx, original.Args()...)
			if err := h.client.send(ctx, answered); err != nil {
				original.SetErr(err)
				return err
			}
			original.SetVal(answered.Val())
		default:
			return next(ctx, cmd)
		}
		return nil
	}
}

// readRecord runs a copy of a command that reads a record, and a second one over
// the shared connection if the connection of the first broke.
func (h handover) readRecord(ctx context.Context, original *redis.StringCmd) (string, error) {
	answered := redis.NewStringCmd(ctx, original.Args()...)
	err := h.client.sendTracked(ctx, answered)
	if failed(err) && !errors.Is(err, redis.ErrAutoPipelineQueueFull) && h.client.Available() == nil {
		answered = redis.NewStringCmd(ctx, original.Args()...)
		err = h.client.send(ctx, answered)
	}
	if err != nil {
		return "", err // an abandoned command is not read
	}
	return answered.Val(), nil
}
