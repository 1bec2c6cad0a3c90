package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
)

// TokenPrefix and an api key make the key of a token's record.
const TokenPrefix = "token:"

// Tokens is the [middleware.TokenStore] on Redis.
type Tokens struct {
	client *Client
	parsed *parsedCache
}

// NewTokens returns the store.
func NewTokens(client *Client) *Tokens {
	return &Tokens{client: client, parsed: newParsedCache()}
}

// Lookup implements [middleware.TokenStore]. It reads with GETRANGE, so that a
// record of any size costs no more than the largest one that is accepted.
func (t *Tokens) Lookup(ctx context.Context, apiKey string) (*middleware.Token, error) {
	text, err := t.client.record(ctx, TokenPrefix+apiKey)
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, fmt.Errorf("%w: not a string", middleware.ErrRecordInvalid)
	case err != nil:
		return nil, unavailable(err)
	case text == "":
		return nil, middleware.ErrTokenUnknown // GETRANGE of an absent key is empty
	}
	return t.parsed.parse(apiKey, text)
}
