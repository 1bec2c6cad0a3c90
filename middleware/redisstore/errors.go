package redisstore

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// unavailable makes an error one of the ports' own.
func unavailable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrAutoPipelineQueueFull):
		return fmt.Errorf("%w: %w", middleware.ErrOverloaded, err)
	default:
		return fmt.Errorf("%w: %w", middleware.ErrUnavailable, unquoted(err))
	}
}

// replied reports whether Redis itself answered with an error, as opposed to
// not answering.
func replied(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// replyError is an error reply of Redis, without what it quoted.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError implements [redis.Error].
func (replyError) RedisError() {}

// unquoted cuts an error reply off where it begins to quote: Redis repeats a
// command's arguments in some ("ERR unknown command 'EVALSHA', with args
// beginning with: …"), and the arguments name the api key.
func unquoted(err error) error {
	if !replied(err) {
		return err
	}
	return replyError(middleware.Unquoted(err.Error()))
}
