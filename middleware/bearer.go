package middleware

import "strings"

// maxTokenLength bounds a bearer token, in bytes, before anything parses it.
const maxTokenLength = 8 << 10

// ParseBearer finds the one bearer token in the values of a request's
// Authorization header fields (RFC 6750 §2.1). It returns [ReasonNone] and the
// token, or the reason why there is none. The token is not yet verified; it
// has three parts and only characters that a JWT has.
func ParseBearer(values []string) (string, Reason) {
	switch len(values) {
	case 0:
		return "", CredentialsMissing
	case 1:
	default:
		return "", CredentialsAmbiguous
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	// Schemes are not case sensitive and 1*SP may follow (RFC 9110 §11.4).
	if !strings.EqualFold(scheme, "Bearer") {
		return "", CredentialsMissing
	}
	token = strings.TrimLeft(token, " ")
	switch {
	case token == "":
		return "", CredentialsMissing
	case len(token) > maxTokenLength:
		return "", TokenTooLarge
	case !compactJWS(token):
		return "", TokenMalformed
	}
	return token, ReasonNone
}

// compactJWS reports whether s is three dot-separated, non-empty runs of
// base64url characters (RFC 7515 §3.1). The third is empty only in unsecured
// tokens, which are judged by their algorithm: let them through to be named.
func compactJWS(s string) bool {
	dots, run := 0, 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.':
			if run == 0 || dots == 2 {
				return false
			}
			dots, run = dots+1, 0
		case c != '~' && unreserved(c):
			run++
		default:
			return false
		}
	}
	return dots == 2
}
