package redisstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	text := err.Error()
	if kind, _, _ := strings.Cut(text, " "); slices.Contains(fixedReplies(), kind) {
		// What these say is always the same and quotes nothing. Another apostrophe
		// keeps "can't" from being taken for the beginning of a quotation.
		return replyError(strings.ReplaceAll(text, "'", "\u2019"))
	}
	return replyError(middleware.Redact(text))
}

// fixedReplies returns the kinds of error replies whose text does not depend on
// the command.
func fixedReplies() []string {
	return []string{
		"READONLY", "OOM", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "BUSY", "NOAUTH", "WRONGPASS", "NOREPLICAS",
	}
}

// wrongServer reports whether a server refused a command because it is not, or not
// yet, the master. The command did not run. After a failover a new connection may
// reach the right server: go-redis v9.23 closes a connection that answered
// READONLY.
func wrongServer(err error) bool {
	for _, kind := range []string{"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"} {
		if redis.HasErrorPrefix(err, kind) {
			return true
		}
	}
	return false
}
