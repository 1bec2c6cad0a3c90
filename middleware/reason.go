package middleware

import (
	"net/http"
	"slices"
)

// Verdict is what an outcome means for the request. The set is closed.
type Verdict uint8

// The verdicts.
const (
	// Allow lets the request go on to the next stage.
	Allow Verdict = iota + 1
	// Deny refuses the request; the client is at fault.
	Deny
	// Fail means that the gateway could not decide or could not serve; the
	// client is not at fault.
	Fail
	// Bypass means that the gateway could not decide and a policy lets the
	// request pass.
	Bypass
)

// String returns the verdict's stable, snake_case name.
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	case Fail:
		return "fail"
	case Bypass:
		return "bypass"
	}
	return "unknown"
}

// The stages' stable names, in the order in which they run.
const (
	StageAuth        = "auth"
	StageTokenLookup = "token_lookup"
	StageRouteCheck  = "route_check"
	StageRateLimit   = "rate_limit"
	StageProxy       = "proxy"
)

var pipelineOrder = [...]string{StageAuth, StageTokenLookup, StageRouteCheck, StageRateLimit, StageProxy}

// StageNames returns the stages' names in pipeline order.
func StageNames() []string { return slices.Clone(pipelineOrder[:]) }

// Reason says why a stage decided as it did. The set is closed: the same
// string is the metric label, the span attribute, the log field and the
// problem body's "reason".
type Reason uint8

// The reasons, in pipeline order. [Reason.Info] returns what each means.
const (
	ReasonNone Reason = iota

	Authenticated
	HeadersTooMany
	HostMissing
	CredentialsMissing
	CredentialsAmbiguous
	TokenTooLarge
	TokenMalformed
	AlgorithmNotAllowed
	SignatureInvalid
	TokenExpired
	TokenNotYetValid
	ClaimsInvalid
	APIKeyInvalid

	TokenFound
	TokenUnknown
	RecordExpired
	RecordInvalid
	StoreUnavailable

	RouteAllowed
	PathAmbiguous
	MethodNotAllowed
	RouteNotAllowed

	WithinLimit
	RateLimited
	LimiterUnavailable
	LimiterBypassed

	Forwarded
	RequestBodyInvalid
	RequestBodyTimeout
	RequestBodyTooLarge
	UpstreamUnreachable
	UpstreamTimeout
	UpstreamInvalid
	UpstreamAborted
	LoopDetected
	ClientCanceled
	ShuttingDown

	Overloaded
	Panicked

	reasonCount
)

// StatusClientClosedRequest is the status that is logged if the client went away
// before it was answered. No client receives it; the number is nginx's.
const StatusClientClosedRequest = 499

// StageAny marks a reason that any stage can end with.
const StageAny = "*"

// ReasonInfo is one row of the table of reasons.
type ReasonInfo struct {
	Name    string  // stable, snake_case
	Stage   string  // the stage that gives this reason, or [StageAny]
	Verdict Verdict // what it means for the request
	Status  int     // HTTP status of the refusal; 0 if the request goes on
	Title   string  // one sentence that a client may read
	Bearer  string  // RFC 6750 §3.1 error code; only for a 401, and may be empty
}

// reasons is the closed table of outcomes.
var reasons = [reasonCount]ReasonInfo{
	Authenticated:        allow(StageAuth, "authenticated", "The token's signature and claims are valid."),
	HeadersTooMany:       deny(StageAuth, 431, "headers_too_many", "The request has more header fields than this gateway accepts."),
	HostMissing:          deny(StageAuth, 400, "host_missing", "The request's Host header field is empty."),
	CredentialsMissing:   badHeader("", "credentials_missing", "The request carries no bearer token."),
	CredentialsAmbiguous: badHeader("invalid_request", "credentials_ambiguous", "The request carries more than one Authorization header."),
	TokenTooLarge:        badToken(StageAuth, "token_too_large", "The bearer token is larger than this gateway accepts."),
	TokenMalformed:       badToken(StageAuth, "token_malformed", "The bearer token is not a well-formed JWT."),
	AlgorithmNotAllowed:  badToken(StageAuth, "algorithm_not_allowed", "The token is not signed with the algorithm this gateway accepts."),
	SignatureInvalid:     badToken(StageAuth, "signature_invalid", "The token's signature does not verify."),
	TokenExpired:         badToken(StageAuth, "token_expired", "The token has expired."),
	TokenNotYetValid:     badToken(StageAuth, "token_not_yet_valid", "The token is not valid yet."),
	ClaimsInvalid:        badToken(StageAuth, "claims_invalid", "The token lacks a required claim, or a claim has the wrong type."),
	APIKeyInvalid:        badToken(StageAuth, "api_key_invalid", "The token's api_key claim is not a usable key."),

	TokenFound:       allow(StageTokenLookup, "token_found", "The token's record was found and is current."),
	TokenUnknown:     badToken(StageTokenLookup, "token_unknown", "The token is not known to this gateway, or was revoked."),
	RecordExpired:    badToken(StageTokenLookup, "record_expired", "The token's record has expired."),
	RecordInvalid:    fail(StageTokenLookup, 500, "record_invalid", "The token's record cannot be read."),
	StoreUnavailable: fail(StageTokenLookup, 503, "store_unavailable", "The token store is unavailable."),

	RouteAllowed:     allow(StageRouteCheck, "route_allowed", "The token's record allows this route."),
	PathAmbiguous:    deny(StageRouteCheck, 400, "path_ambiguous", "The request path can be read in more than one way."),
	MethodNotAllowed: deny(StageRouteCheck, 405, "method_not_allowed", "This gateway does not forward that method."),
	RouteNotAllowed:  deny(StageRouteCheck, 403, "route_not_allowed", "The token does not allow this route."),

	WithinLimit:        allow(StageRateLimit, "within_limit", "The request is within the token's limit."),
	RateLimited:        deny(StageRateLimit, 429, "rate_limited", "The token's limit for this window is used up."),
	LimiterUnavailable: fail(StageRateLimit, 503, "limiter_unavailable", "The rate limiter is unavailable."),
	LimiterBypassed: bypass(StageRateLimit, "limiter_bypassed",
		"The rate limiter is unavailable, and policy lets the request pass uncounted."),

	Forwarded:           allow(StageProxy, "forwarded", "The request was forwarded and the response relayed."),
	RequestBodyInvalid:  deny(StageProxy, 400, "request_body_invalid", "The request body could not be read."),
	RequestBodyTimeout:  deny(StageProxy, 408, "request_body_timeout", "The request body did not arrive in time."),
	RequestBodyTooLarge: deny(StageProxy, 413, "request_body_too_large", "The request body is larger than this gateway accepts."),
	UpstreamUnreachable: fail(StageProxy, 502, "upstream_unreachable", "The upstream could not be reached."),
	UpstreamTimeout:     fail(StageProxy, 504, "upstream_timeout", "The upstream did not answer in time."),
	UpstreamInvalid:     fail(StageProxy, 502, "upstream_invalid", "The upstream's answer could not be used."),
	UpstreamAborted:     fail(StageProxy, 502, "upstream_aborted", "The upstream broke off before its response was complete."),
	LoopDetected:        fail(StageProxy, 508, "loop_detected", "The request came back to the gateway that forwarded it."),
	ClientCanceled:      deny(StageProxy, StatusClientClosedRequest, "client_canceled", "The client went away before it was answered."),

	ShuttingDown: fail(StageProxy, 503, "shutting_down", "The gateway is shutting down."),

	Overloaded: fail(StageAny, 503, "overloaded", "The gateway is overloaded."),
	Panicked:   fail(StageAny, 500, "panicked", "The gateway failed."),
}

func allow(stage, name, title string) ReasonInfo { return ReasonInfo{name, stage, Allow, 0, title, ""} }

func bypass(stage, name, title string) ReasonInfo {
	return ReasonInfo{name, stage, Bypass, 0, title, ""}
}

func deny(stage string, status int, name, title string) ReasonInfo {
	return ReasonInfo{name, stage, Deny, status, title, ""}
}

func fail(stage string, status int, name, title string) ReasonInfo {
	return ReasonInfo{name, stage, Fail, status, title, ""}
}

// badHeader denies a request for its Authorization header.
func badHeader(code, name, title string) ReasonInfo {
	return ReasonInfo{name, StageAuth, Deny, http.StatusUnauthorized, title, code}
}

// badToken denies a request for its token.
func badToken(stage, name, title string) ReasonInfo {
	return ReasonInfo{name, stage, Deny, http.StatusUnauthorized, title, "invalid_token"}
}

// Info returns the reason's row of the table.
func (r Reason) Info() ReasonInfo {
	if r >= reasonCount {
		r = ReasonNone
	}
	return reasons[r]
}

// String returns the reason's stable name, or "" for [ReasonNone].
func (r Reason) String() string { return r.Info().Name }

// Reasons returns every reason in pipeline order.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := ReasonNone + 1; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// ReasonsOf returns every reason with which a stage can end, in pipeline order.
// The token lookup also ends with [TokenExpired], which comes last.
func ReasonsOf(stage string) []Reason {
	of := slices.DeleteFunc(Reasons(), func(r Reason) bool {
		owner := r.Info().Stage
		return owner != stage && owner != StageAny
	})
	if stage == StageTokenLookup {
		of = append(of, TokenExpired)
	}
	return of
}
