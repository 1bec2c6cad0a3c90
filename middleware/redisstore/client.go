package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"tyk_proxy/middleware"
)

// Options configure the connection to Redis.
type Options struct {
	Addr     string // host:port
	Username string
	Password string
	DB       int
	TLS      *tls.Config // nil means plain TCP

	DialTimeout time.Duration // for one connection attempt
	Timeout     time.Duration // for one command, from asking for a connection to its reply
	PoolTimeout time.Duration // for a free connection, inside Timeout
	PoolSize    int           // 0 means ten for each CPU
}

// NewClient returns a client with the gateway's budgets. It connects lazily, so
// that the gateway starts, and says that it is not ready, without Redis.
//
// Retries are off: a read timeout does not mean that a script did not run, and
// a second run would count the request twice.
func NewClient(o Options) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr:                  o.Addr,
		Username:              o.Username,
		Password:              o.Password,
		DB:                    o.DB,
		TLSConfig:             o.TLS,
		DialTimeout:           o.DialTimeout,
		DialerRetries:         1,
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		PoolTimeout:           o.PoolTimeout,
		PoolSize:              o.PoolSize,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DisableIdentity:       true,
		// Hand-over notices of managed Redis clusters; a handshake more for
		// every connection, and not what this gateway talks to.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	openBehind(client, o)
	return client
}

// withBudget bounds one command. It does not inherit cancellation: a client
// that goes away must not cost the pool a healthy connection, which go-redis
// closes when its context ends in the middle of a reply.
func withBudget(ctx context.Context, budget time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), budget)
}

// Ping reports whether Redis answers within the budget. Its error is
// [middleware.ErrUnavailable], wrapped.
func Ping(ctx context.Context, client redis.UniversalClient, budget time.Duration) error {
	ctx, cancel := withBudget(ctx, budget)
	defer cancel()
	return unavailable(client.Ping(ctx).Err())
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", middleware.ErrUnavailable, unquoted(err))
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
