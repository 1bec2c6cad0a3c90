// Package redisstore implements the gateway's two storage ports on Redis: the
// records of tokens ([Records]) and the shared fixed-window counter ([Counter]).
// Both use one [Client].
package redisstore
