package redisstore

import (
	"context"
	_ "embed" // the script
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The names of the commands that requests need, as go-redis gives them.
const (
	nameGetRange = "getrange"
	nameEvalSHA  = "evalsha"
	nameEval     = "eval"
)

//go:embed window.lua
var windowLua string

// windowHash is the name under which Redis knows the script.
var windowHash = redis.NewScript(windowLua).Hash()

// newGetRange returns a command that reads the bytes from start to end, the
// last included. Redis answers with nothing for a key that is absent.
func newGetRange(key string, start, end int) *redis.StringCmd {
	return redis.NewStringCmd(context.Background(), nameGetRange, key, start, end)
}

// runWindow runs the counting script by its hash, and once in full where Redis
// does not know it.
func runWindow(
	ctx context.Context, process func(context.Context, redis.Cmder) error, key string, start, seconds int64, ttl time.Duration,
) ([]int64, error) {
	run := func(name, script string) ([]int64, error) {
		cmd := redis.NewIntSliceCmd(context.Background(), name, script, 1, key, start, seconds, ttl.Milliseconds())
		if err := process(ctx, cmd); err != nil {
			return nil, err
		}
		return cmd.Val(), nil
	}
	reply, err := run(nameEvalSHA, windowHash)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return run(nameEval, windowLua)
	}
	return reply, err
}

// counterKey names the counter of the window that began at start, Unix seconds.
func counterKey(apiKey string, start int64) string {
	key := make([]byte, 0, len(CounterPrefix)+len(apiKey)+21)
	key = append(key, CounterPrefix...)
	key = append(key, apiKey...)
	key = append(key, ':')
	return string(strconv.AppendInt(key, start, 10))
}
