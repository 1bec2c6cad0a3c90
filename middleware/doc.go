// Package middleware is the gateway's request pipeline: five stages that each
// decide one question about a request and return one [Outcome].
//
//	auth → token_lookup → route_check → rate_limit → proxy
//
// A [Pipeline] is an http.Handler that runs the stages in order, answers a
// refused request and reports every step to an [Observer]. The file of a stage
// has the stage's name; stage.go has the types that all stages share, and
// reason.go the table of all outcomes.
//
// The package does not know how outcomes are recorded, where records are stored
// or how the program is configured: it reports through [Observer] and reads
// through [RecordStore] and [Counter]. It imports the standard library,
// golang-jwt and golang-lru only.
package middleware
