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
	// Deny tells the client no: the request itself is at fault.
	Deny
	// Fail means the gateway could not decide or could not serve: the client
	// is not at fault.
	Fail
	// Bypass means the gateway could not decide and policy lets it pass.
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

// The stages' stable names, in the order in which a request meets them.
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

// The reasons, in pipeline order. [Reason.Info] says what each means.
const (
	ReasonNone Reason = iota

	Authenticated
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
	UpstreamUnreachable
	UpstreamTimeout
	UpstreamInvalid
	UpstreamAborted
	ClientCanceled
	ShuttingDown

	Overloaded
	Panicked

	reasonCount
)

// StatusClientClosedRequest is what is logged when the client went away before
// it was answered. It is never seen by a client; the number is nginx's.
const StatusClientClosedRequest = 499

// StageAny marks a reason that any stage can end with.
const StageAny = "*"

// ReasonInfo is one row of the table of reasons.
type ReasonInfo struct {
	Name    string  // stable, snake_case
	Stage   string  // the stage that gives this reason, or [StageAny]
	Verdict Verdict // what it means for the request
	Status  int     // HTTP status of the refusal; 0 where the request goes on
	Title   string  // one sentence for people, safe to show to a client
	Bearer  string  // RFC 6750 §3.1 error code; 401 only, may be empty
}

var reasons = [reasonCount]ReasonInfo{
	Authenticated: {"authenticated", StageAuth, Allow, 0, "The token's signature and claims are valid.", ""},
	CredentialsMissing: {
		"credentials_missing", StageAuth, Deny, http.StatusUnauthorized,
		"The request carries no bearer token.", "",
	},
	CredentialsAmbiguous: {
		"credentials_ambiguous", StageAuth, Deny, http.StatusUnauthorized,
		"The request carries more than one Authorization header.", "invalid_request",
	},
	TokenTooLarge: {
		"token_too_large", StageAuth, Deny, http.StatusUnauthorized,
		"The bearer token is larger than this gateway accepts.", bearerInvalidToken,
	},
	TokenMalformed: {
		"token_malformed", StageAuth, Deny, http.StatusUnauthorized,
		"The bearer token is not a well-formed JWT.", bearerInvalidToken,
	},
	AlgorithmNotAllowed: {
		"algorithm_not_allowed", StageAuth, Deny, http.StatusUnauthorized,
		"The token is not signed with the algorithm this gateway accepts.", bearerInvalidToken,
	},
	SignatureInvalid: {
		"signature_invalid", StageAuth, Deny, http.StatusUnauthorized,
		"The token's signature does not verify.", bearerInvalidToken,
	},
	TokenExpired: {
		"token_expired", StageAuth, Deny, http.StatusUnauthorized,
		"The token has expired.", bearerInvalidToken,
	},
	TokenNotYetValid: {
		"token_not_yet_valid", StageAuth, Deny, http.StatusUnauthorized,
		"The token is not valid yet.", bearerInvalidToken,
	},
	ClaimsInvalid: {
		"claims_invalid", StageAuth, Deny, http.StatusUnauthorized,
		"The token lacks a required claim, or a claim has the wrong type.", bearerInvalidToken,
	},
	APIKeyInvalid: {
		"api_key_invalid", StageAuth, Deny, http.StatusUnauthorized,
		"The token's api_key claim is not a usable key.", bearerInvalidToken,
	},

	TokenFound: {"token_found", StageTokenLookup, Allow, 0, "The token's record was found and is current.", ""},
	TokenUnknown: {
		"token_unknown", StageTokenLookup, Deny, http.StatusUnauthorized,
		"The token is not known to this gateway, or was revoked.", bearerInvalidToken,
	},
	RecordExpired: {
		"record_expired", StageTokenLookup, Deny, http.StatusUnauthorized,
		"The token's record has expired.", bearerInvalidToken,
	},
	RecordInvalid: {
		"record_invalid", StageTokenLookup, Fail, http.StatusInternalServerError,
		"The token's record cannot be read.", "",
	},
	StoreUnavailable: {
		"store_unavailable", StageTokenLookup, Fail, http.StatusServiceUnavailable,
		"The token store is unavailable.", "",
	},

	RouteAllowed: {"route_allowed", StageRouteCheck, Allow, 0, "The token's record allows this route.", ""},
	PathAmbiguous: {
		"path_ambiguous", StageRouteCheck, Deny, http.StatusBadRequest,
		"The request path can be read in more than one way.", "",
	},
	MethodNotAllowed: {
		"method_not_allowed", StageRouteCheck, Deny, http.StatusMethodNotAllowed,
		"This gateway does not forward that method.", "",
	},
	RouteNotAllowed: {
		"route_not_allowed", StageRouteCheck, Deny, http.StatusForbidden,
		"The token does not allow this route.", "",
	},

	WithinLimit: {"within_limit", StageRateLimit, Allow, 0, "The request is within the token's limit.", ""},
	RateLimited: {
		"rate_limited", StageRateLimit, Deny, http.StatusTooManyRequests,
		"The token's limit for this window is used up.", "",
	},
	LimiterUnavailable: {
		"limiter_unavailable", StageRateLimit, Fail, http.StatusServiceUnavailable,
		"The rate limiter is unavailable.", "",
	},
	LimiterBypassed: {
		"limiter_bypassed", StageRateLimit, Bypass, 0,
		"The rate limiter is unavailable, and policy lets the request pass uncounted.", "",
	},

	Forwarded: {"forwarded", StageProxy, Allow, 0, "The request was forwarded and the response relayed.", ""},
	RequestBodyInvalid: {
		"request_body_invalid", StageProxy, Deny, http.StatusBadRequest,
		"The request body could not be read.", "",
	},
	RequestBodyTimeout: {
		"request_body_timeout", StageProxy, Deny, http.StatusRequestTimeout,
		"The request body did not arrive in time.", "",
	},
	UpstreamUnreachable: {
		"upstream_unreachable", StageProxy, Fail, http.StatusBadGateway,
		"The upstream could not be reached.", "",
	},
	UpstreamTimeout: {
		"upstream_timeout", StageProxy, Fail, http.StatusGatewayTimeout,
		"The upstream did not answer in time.", "",
	},
	UpstreamInvalid: {
		"upstream_invalid", StageProxy, Fail, http.StatusBadGateway,
		"The upstream's answer could not be used.", "",
	},
	UpstreamAborted: {
		"upstream_aborted", StageProxy, Fail, http.StatusBadGateway,
		"The upstream broke off before its response was complete.", "",
	},
	ClientCanceled: {
		"client_canceled", StageProxy, Deny, StatusClientClosedRequest,
		"The client went away before it was answered.", "",
	},

	ShuttingDown: {
		"shutting_down", StageProxy, Fail, http.StatusServiceUnavailable,
		"The gateway is shutting down.", "",
	},

	Overloaded: {
		"overloaded", StageAny, Fail, http.StatusServiceUnavailable,
		"The gateway is overloaded.", "",
	},
	Panicked: {
		"panicked", StageAny, Fail, http.StatusInternalServerError,
		"The gateway failed.", "",
	},
}

const bearerInvalidToken = "invalid_token"

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

// ReasonsOf returns every reason with which a stage can end, in the same order.
func ReasonsOf(stage string) []Reason {
	return slices.DeleteFunc(Reasons(), func(r Reason) bool {
		owner := r.Info().Stage
		return owner != stage && owner != StageAny
	})
}
