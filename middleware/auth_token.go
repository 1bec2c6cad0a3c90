package middleware

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// DefaultMaxTokenBytes bounds a bearer token before anything parses it, if
// [AuthConfig] has no other bound.
const DefaultMaxTokenBytes = 16 << 10

// maxAPIKeyLength bounds the api_key claim, in bytes: it becomes part of a
// Redis key and of every cache's key.
const maxAPIKeyLength = 128

// maxNumericDate is the end of the year 9999 in Unix seconds: the last instant
// that RFC 3339 can write. A float64 holds it exactly.
const maxNumericDate = 253402300799

// ParseBearer finds the one bearer token in the values of a request's
// Authorization header fields (RFC 6750 §2.1), if it has at most maxBytes. It returns the token and
// [ReasonNone], or the reason why there is none. The token is not verified yet;
// it has three parts and contains only characters that a JWT may contain.
func ParseBearer(values []string, maxBytes int) (string, Reason) {
	switch len(values) {
	case 0:
		return "", CredentialsMissing
	case 1:
	default:
		return "", CredentialsAmbiguous
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	// Schemes are not case sensitive, and several spaces may follow (RFC 9110 §11.4).
	if !strings.EqualFold(scheme, "Bearer") {
		return "", CredentialsMissing
	}
	token = strings.TrimLeft(token, " ")
	switch {
	case token == "":
		return "", CredentialsMissing
	case len(token) > maxBytes:
		return "", TokenTooLarge
	case !compactJWS(token):
		return "", TokenMalformed
	}
	return token, ReasonNone
}

// compactJWS reports whether s is three dot-separated runs of base64url
// characters (RFC 7515 §3.1), the first two not empty. The third is empty only
// in unsecured tokens; they pass here so that they are refused for their
// algorithm.
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

// Claims are the claims of a verified token that the gateway uses. The token's
// rate_limit, allowed_routes and expires_at are ignored: the stored record
// decides about them, so that editing or deleting it takes effect at once.
type Claims struct {
	APIKey    string
	ExpiresAt time.Time
	IssuedAt  time.Time // zero if the token has none
	NotBefore time.Time // zero if the token has none
}

// validAt reports whether the claims' times hold, as golang-jwt checks them.
func (c *Claims) validAt(now time.Time, leeway time.Duration) bool {
	return now.Before(c.ExpiresAt.Add(leeway)) &&
		(c.NotBefore.IsZero() || !now.Before(c.NotBefore.Add(-leeway))) &&
		(c.IssuedAt.IsZero() || !now.Before(c.IssuedAt.Add(-leeway)))
}

// ValidAPIKey reports whether a key may become part of a Redis key: 1 to 128
// unreserved URI characters (RFC 3986 §2.3). Colons are not allowed, so that no
// key can name another key's counter.
func ValidAPIKey(key string) bool {
	if key == "" || len(key) > maxAPIKeyLength {
		return false
	}
	for i := range len(key) {
		if !unreserved(key[i]) {
			return false
		}
	}
	return true
}

// unreserved reports whether c is an unreserved character of RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// wireClaims decodes a token's claims strictly and offers them to golang-jwt's
// validator. It keeps faults of api_key and of the dates until the signature is
// verified: an unsigned token must not choose the reason of its refusal.
type wireClaims struct {
	Claims

	badKey  bool // api_key is missing or not a [ValidAPIKey]
	badDate error
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *wireClaims) UnmarshalJSON(data []byte) error {
	members, err := decodeObject(data)
	if err != nil {
		return err
	}
	key, err := stringMember(members, "api_key")
	c.APIKey, c.badKey = key, err != nil || !ValidAPIKey(key)
	for name, into := range map[string]*time.Time{"exp": &c.ExpiresAt, "iat": &c.IssuedAt, "nbf": &c.NotBefore} {
		if err := dateMember(members, name, into); err != nil {
			c.badDate = err
		}
	}
	return nil
}

// Validate implements jwt.ClaimsValidator. golang-jwt calls it after it has
// verified the signature.
func (c *wireClaims) Validate() error { return c.badDate }

// dateMember reads a NumericDate (RFC 7519 §2): a number of seconds since the
// epoch, perhaps with a fraction.
func dateMember(members map[string]json.RawMessage, name string, into *time.Time) error {
	raw, ok := members[name]
	if !ok {
		return nil
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxNumericDate {
		return fmt.Errorf("%s is not a NumericDate between 1970 and 9999", name)
	}
	whole, fraction := math.Modf(seconds)
	*into = time.Unix(int64(whole), int64(fraction*1e9))
	return nil
}

// The methods below implement jwt.Claims.

func (c *wireClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return numericDate(c.ExpiresAt), nil
}
func (c *wireClaims) GetIssuedAt() (*jwt.NumericDate, error)  { return numericDate(c.IssuedAt), nil }
func (c *wireClaims) GetNotBefore() (*jwt.NumericDate, error) { return numericDate(c.NotBefore), nil }
func (c *wireClaims) GetIssuer() (string, error)              { return "", nil }
func (c *wireClaims) GetSubject() (string, error)             { return "", nil }
func (c *wireClaims) GetAudience() (jwt.ClaimStrings, error)  { return nil, nil }

// numericDate returns nil for a claim that the token does not have.
func numericDate(t time.Time) *jwt.NumericDate {
	if t.IsZero() {
		return nil
	}
	return &jwt.NumericDate{Time: t}
}
