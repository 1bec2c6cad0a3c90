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

// newGetRange returns a command that reads the first bytes of a value. Redis
// answers with nothing for a key that is absent.
func newGetRange(ctx context.Context, key string, bytes int) *redis.StringCmd {
	return redis.NewStringCmd(ctx, nameGetRange, key, 0, bytes-1)
}

// processor runs a command.
type processor func(context.Context, redis.Cmder) error

// windowScript is the counting script.
type windowScript struct{ hash string } // under which Redis knows it

func newWindowScript() windowScript { return windowScript{redis.NewScript(windowLua).Hash()} }

// run runs the script by its hash, and once in full where Redis does not know
// it.
func (s windowScript) run(
	ctx context.Context, process processor, key string, start, seconds int64, ttl time.Duration,
) ([]int64, error) {
	cmd := redis.NewIntSliceCmd(ctx, nameEvalSHA, s.hash, 1, key, start, seconds, ttl.Milliseconds())
	err := process(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = redis.NewIntSliceCmd(ctx, nameEval, windowLua, 1, key, start, seconds, ttl.Milliseconds())
		err = process(ctx, cmd)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

// counterKey names the counter of the window that began at start, Unix seconds.
func counterKey(apiKey string, start int64) string {
	key := make([]byte, 0, len(CounterPrefix)+len(apiKey)+21)
	key = append(key, CounterPrefix...)
	key = append(key, apiKey...)
	key = append(key, ':')
	return string(strconv.AppendInt(key, start, 10))
}
