package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// TokenPrefix and an api key make the key of a token's record.
const TokenPrefix = "token:"

// Tokens is the [middleware.TokenStore] on Redis.
type Tokens struct {
	client redis.UniversalClient
	budget time.Duration
}

// NewTokens returns the store; budget bounds one lookup.
func NewTokens(client redis.UniversalClient, budget time.Duration) *Tokens {
	return &Tokens{client: client, budget: budget}
}

// Lookup implements [middleware.TokenStore]. It reads with GETRANGE, so that a
// record of any size costs no more than the largest one that is accepted.
func (t *Tokens) Lookup(ctx context.Context, apiKey string) (*middleware.Token, error) {
	ctx, cancel := withBudget(ctx, t.budget)
	defer cancel()
	record, err := t.read(ctx, TokenPrefix+apiKey)
	if err != nil {
		return nil, err
	}
	if len(record) == 0 {
		return nil, middleware.ErrTokenUnknown // GETRANGE of an absent key is empty
	}
	return middleware.ParseToken(apiKey, record)
}

// read tries once more, inside the budget, where the connection failed: reading
// twice is harmless, and a pooled connection may have died unnoticed. A pool
// without a free connection is another matter: what was waited is gone, and the
// rest of the budget is too short for a connection that is opened now, so that a
// second try would have the pool lose the connections that it lacks.
func (t *Tokens) read(ctx context.Context, key string) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		record, err := t.client.GetRange(ctx, key, 0, middleware.MaxRecordSize).Bytes()
		switch {
		case err == nil:
			return record, nil
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			return nil, fmt.Errorf("%w: not a string", middleware.ErrRecordInvalid)
		case attempt > 0, replied(err), errors.Is(err, redis.ErrPoolTimeout), ctx.Err() != nil:
			return nil, unavailable(err)
		}
	}
}
