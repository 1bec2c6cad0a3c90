package middleware

import (
	"net/http"
	"strconv"
	"time"
)

// The limit's header fields, in Go's canonical spelling (names are not case
// sensitive, RFC 9110 §5.1).
const (
	headerRateLimitPolicy = "Ratelimit-Policy"
	headerRateLimit       = "Ratelimit"
	headerXLimit          = "X-Ratelimit-Limit"
	headerXRemaining      = "X-Ratelimit-Remaining"
	headerXReset          = "X-Ratelimit-Reset"
)

// writeRateLimitHeaders tells the client where it stands. It is the one
// function that writes these headers and it overwrites what an upstream sent.
// Where no limit was consulted it writes nothing.
//
// RateLimit-Policy and RateLimit follow draft-ietf-httpapi-ratelimit-headers-11:
// q is the quota and w the window in seconds; r is what remains and t the
// seconds until it resets. X-RateLimit-Reset is the Unix time of the reset.
//
// All five values are slices of one string, so that a response pays for one
// formatting and not for five.
func writeRateLimitHeaders(h http.Header, q Quota) {
	if q.Window <= 0 {
		return
	}
	buf := make([]byte, 0, 128)
	buf = append(buf, `"default";q=`...)
	limitFrom := len(buf)
	buf = strconv.AppendInt(buf, q.Limit, 10)
	limitTo := len(buf)
	buf = append(buf, `;w=`...)
	buf = strconv.AppendInt(buf, int64(q.Window/time.Second), 10)
	policyTo := len(buf)
	buf = append(buf, `"default";r=`...)
	remainingFrom := len(buf)
	buf = strconv.AppendInt(buf, q.Remaining, 10)
	remainingTo := len(buf)
	buf = append(buf, `;t=`...)
	buf = strconv.AppendInt(buf, wholeSeconds(q.Reset), 10)
	limitEnd := len(buf)
	buf = strconv.AppendInt(buf, q.ResetAt.Unix(), 10)

	s := string(buf)
	values := [...]string{
		s[:policyTo], s[policyTo:limitEnd],
		s[limitFrom:limitTo], s[remainingFrom:remainingTo], s[limitEnd:],
	}
	h[headerRateLimitPolicy] = values[0:1:1]
	h[headerRateLimit] = values[1:2:2]
	h[headerXLimit] = values[2:3:3]
	h[headerXRemaining] = values[3:4:4]
	h[headerXReset] = values[4:5:5]
}
