// Package middleware is the gateway's request pipeline: five stages that each
// decide one question about a request and return one [Outcome].
//
//	auth → token_lookup → route_check → rate_limit → proxy
//
// The package decides and answers; it does not know how decisions are
// recorded, where tokens are stored or how the program is configured. It
// therefore imports the standard library, golang-jwt and golang-lru only. Recording is
// behind [Observer], storage behind [TokenStore] and [Counter].
package middleware
