package redisstore

import (
	"context"
	_ "embed" // the script
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The names of the commands of requests, as go-redis spells them.
const (
	nameGetRange = "getrange"
	nameEvalSHA  = "evalsha"
	nameEval     = "eval"
)

//go:embed window.lua
var windowLua string

// newGetRange returns a command that reads the first bytes of a value. The result
// is empty if the key does not exist.
func newGetRange(ctx context.Context, key string, bytes int) *redis.StringCmd {
	return redis.NewStringCmd(ctx, nameGetRange, key, 0, bytes-1)
}

// processor runs a command.
type processor func(context.Context, redis.Cmder) error

// windowScript is the counting script.
type windowScript struct{ hash string } // SHA-1, for EVALSHA

func newWindowScript() windowScript { return windowScript{redis.NewScript(windowLua).Hash()} }

// run runs the script by its hash, or in full if Redis does not know it.
func (s windowScript) run(
	ctx context.Context, process processor, key string, start, seconds int64, ttl time.Duration,
) ([]int64, error) {
	var cmd *redis.IntSliceCmd
	send := func(name, script string) error {
		cmd = redis.NewIntSliceCmd(ctx, name, script, 1, key, start, seconds, ttl.Milliseconds())
		return process(ctx, cmd)
	}
	err := send(nameEvalSHA, s.hash)
	if wrongServer(err) {
		err = send(nameEvalSHA, s.hash) // it was not counted
	}
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = send(nameEval, windowLua)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

// counterKey returns the key of the counter for the window that began at start,
// Unix seconds.
func counterKey(apiKey string, start int64) string {
	key := make([]byte, 0, len(CounterPrefix)+len(apiKey)+21)
	key = append(key, CounterPrefix...)
	key = append(key, apiKey...)
	key = append(key, ':')
	return string(strconv.AppendInt(key, start, 10))
}
