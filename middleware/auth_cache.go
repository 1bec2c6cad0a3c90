package middleware

import (
	"crypto/sha256"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxVerified bounds the tokens that are remembered; one takes about 300 bytes.
const maxVerified = 32 << 10

// verified remembers the claims of tokens whose signature was verified, so that
// a client which sends the same token again costs a hash and not a signature.
// It belongs to one [Auth], and so to one key: another key has a memory of its
// own. It is safe for concurrent use.
//
// An entry is found under the SHA-256 of the whole token, signature included.
// Whoever hits it sent that very token, and so a valid one. How long an answer
// takes can tell no more than whether this token was sent before, which a forger
// cannot ask without having it.
type verified struct {
	claims *lru.Cache[[sha256.Size]byte, Claims]
	leeway time.Duration
	now    func() time.Time
}

func newVerified(leeway time.Duration, now func() time.Time) *verified {
	claims, err := lru.New[[sha256.Size]byte, Claims](maxVerified)
	if err != nil {
		panic(err) // the size is positive
	}
	return &verified{claims: claims, leeway: leeway, now: now}
}

// lookup returns the claims of a token that was verified before and is valid
// now. A token that has expired meanwhile is forgotten.
func (v *verified) lookup(key [sha256.Size]byte) (Claims, bool) {
	claims, ok := v.claims.Get(key)
	if ok && !claims.validAt(v.now(), v.leeway) {
		v.claims.Remove(key)
		return Claims{}, false
	}
	return claims, ok
}

// validAt reports whether the claims' times hold, as golang-jwt checks them. A
// time that the token does not have is zero, and holds.
func (c *Claims) validAt(now time.Time, leeway time.Duration) bool {
	return now.Before(c.ExpiresAt.Add(leeway)) &&
		(c.NotBefore.IsZero() || !now.Before(c.NotBefore.Add(-leeway))) &&
		(c.IssuedAt.IsZero() || !now.Before(c.IssuedAt.Add(-leeway)))
}
