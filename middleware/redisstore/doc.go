// Package redisstore keeps the gateway's two ports on Redis: token records
// ([Tokens]) and the shared fixed-window counter ([Counter]). It also mints
// tokens, since a token is a signed JWT and a record.
package redisstore
