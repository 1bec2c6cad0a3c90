package redisstore

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// unavailable wraps an error in the one of the ports' errors that it stands for.
func unavailable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrAutoPipelineQueueFull):
		return fmt.Errorf("%w: %w", middleware.ErrOverloaded, err)
	default:
		return fmt.Errorf("%w: %w", middleware.ErrUnavailable, redact(err))
	}
}

// replied reports whether err is an error reply of Redis, as opposed to a missing
// reply.
func replied(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// replyError is a redacted error reply of Redis.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError implements [redis.Error].
func (replyError) RedisError() {}

// redact removes what an error reply quotes. Some replies of Redis repeat the
// arguments of the command ("ERR unknown command 'EVALSHA', with args beginning
// with: …"), and the arguments name the api key.
func redact(err error) error {
	if !replied(err) {
		return err
	}
	return replyError(middleware.Redact(err.Error()))
}
