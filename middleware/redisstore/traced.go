package redisstore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// processTraced runs a command through the hooks of the traced client. It adds the
// handover hook at the first use, because the hook that was added last must be
// the innermost.
func (c *Client) processTraced(ctx context.Context, cmd redis.Cmder) error {
	c.tracedOnce.Do(func() { c.traced.AddHook(handover{c}) })
	return c.traced.Process(context.WithoutCancel(ctx), cmd)
}

// handover is a go-redis hook that runs a copy of a command on the shared
// connection and copies the result back. It does not send the command itself,
// because the outer hooks read it afterwards, while go-redis may still write to a
// command whose caller stopped waiting.
type handover struct{ client *Client }

// DialHook implements [redis.Hook].
func (handover) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (handover) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements [redis.Hook]. Commands that requests do not use go over a
// connection of the traced client.
func (h handover) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		switch original := cmd.(type) {
		case *redis.StringCmd:
			answered, err := h.readRecord(ctx, original) // a StringCmd reads a record
			if err != nil {
				original.SetErr(err) // the hooks read it
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
