package middleware

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxAPIKeyLength bounds the api_key claim, in bytes: it becomes part of a
// Redis key and of every cache's key.
const maxAPIKeyLength = 128

// maxNumericDate is the end of the year 9999 in Unix seconds: the last instant
// RFC 3339 can write, and far inside what a float64 holds exactly.
const maxNumericDate = 253402300799

// Claims are the claims of a verified token that the gateway uses. The
// token's rate_limit, allowed_routes and expires_at are informative: the
// record in the store is the truth for them, so that editing or deleting it
// takes effect at once.
type Claims struct {
	APIKey    string
	ExpiresAt time.Time
	IssuedAt  time.Time // zero where the token has none
	NotBefore time.Time // zero where the token has none
}

// ValidAPIKey reports whether a key may become part of a Redis key: 1 to 128
// unreserved URI characters (RFC 3986 §2.3). Colons are out, so that no key can
// name another key's counter.
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
// validator.
type wireClaims struct {
	Claims

	// badKey holds back a missing or odd api_key until the signature and the
	// times were checked: what an unsigned token says about itself decides
	// nothing.
	badKey bool
	// badDate holds back a date of the wrong type for the same reason.
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

// Validate implements jwt.ClaimsValidator, which golang-jwt asks after it
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

func (c *wireClaims) GetExpirationTime() (*jwt.NumericDate, error) { return numericDate(c.ExpiresAt) }
func (c *wireClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return numericDate(c.IssuedAt) }
func (c *wireClaims) GetNotBefore() (*jwt.NumericDate, error)      { return numericDate(c.NotBefore) }
func (c *wireClaims) GetIssuer() (string, error)                   { return "", nil }
func (c *wireClaims) GetSubject() (string, error)                  { return "", nil }
func (c *wireClaims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

func numericDate(t time.Time) (*jwt.NumericDate, error) {
	if t.IsZero() {
		return nil, nil //nolint:nilnil // how jwt.Claims says "no such claim"
	}
	return &jwt.NumericDate{Time: t}, nil
}
