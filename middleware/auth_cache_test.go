package middleware

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func checkToken(auth *Auth, token string) Outcome {
	return auth.Check(context.Background(), &Exchange{Request: &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}}})
}

// TestCachedTokenTimes checks that the times of a cached token are checked as
// those of any other token.
func TestCachedTokenTimes(t *testing.T) {
	claims := fmt.Sprintf(`{"api_key":%q,"nbf":%d,"iat":%d,"exp":%d}`, testKey, epoch.Unix(), epoch.Unix()+10, epoch.Unix()+60)
	token := hs256(claims)
	now := epoch.Add(30 * time.Second)
	clock := func() time.Time { return now }
	cfg := AuthConfig{Algorithm: "HS256", Key: testSecret, Leeway: 5 * time.Second, Now: clock}
	remembering := NewAuth(cfg)
	checkReason(t, checkToken(remembering, token), Authenticated)
	for at, want := range map[time.Duration]Reason{
		4 * time.Second:                  TokenNotYetValid,
		5*time.Second - 1:                TokenNotYetValid,
		5 * time.Second:                  Authenticated,
		65*time.Second - 1:               Authenticated,
		65 * time.Second:                 TokenExpired,
		24 * time.Hour:                   TokenExpired,
		-5*time.Second - 1:               TokenNotYetValid,
		59 * time.Second:                 Authenticated,
		65*time.Second + time.Nanosecond: TokenExpired,
	} {
		now = epoch.Add(30 * time.Second)
		checkReason(t, checkToken(remembering, token), Authenticated)
		now = epoch.Add(at)
		got, fresh := checkToken(remembering, token), checkToken(NewAuth(cfg), token)
		if got.Reason != want || fresh.Reason != want {
			t.Errorf("at %s: %s with the cache, %s without, want %s", at, got.Reason, fresh.Reason, want)
		}
	}
}

// TestOnlyVerifiedTokensAreCached checks that another key has its own cache, and
// that the cache has no bad tokens.
func TestOnlyVerifiedTokensAreCached(t *testing.T) {
	auth := testAuth()
	token := hs256(claimsAt(epoch, ""))
	checkReason(t, checkToken(auth, token), Authenticated)
	rotated := NewAuth(AuthConfig{Algorithm: "HS256", Key: []byte("another secret of 32 bytes......"), Leeway: testLeeway, Now: fixed})
	checkReason(t, checkToken(rotated, token), SignatureInvalid)
	for _, bad := range []string{
		hs256(claimsAt(epoch.Add(-48*time.Hour), "")), hs256(`{"exp":4102444800}`), hs256(`{"api_key":"a:b","exp":4102444800}`),
		token + "A",
	} {
		for range 2 {
			if o := checkToken(auth, bad); o.Proceeds() {
				t.Errorf("a bad token was accepted: %s", o.Reason)
			}
		}
	}
	if n := auth.verified.claims.Len(); n != 1 {
		t.Errorf("the cache has %d tokens, want 1", n)
	}
}

// TestCacheIsBounded checks the largest size of the cache.
func TestCacheIsBounded(t *testing.T) {
	v := newVerified(0, fixed)
	for i := range maxVerified + 100 {
		v.claims.Add(sha256.Sum256(fmt.Append(nil, i)), Claims{ExpiresAt: epoch.Add(time.Hour)})
	}
	if n := v.claims.Len(); n != maxVerified {
		t.Errorf("the cache has %d tokens, want at most %d", n, maxVerified)
	}
}

// TestCachedTokensExpireUnderLoad checks that concurrent requests do not accept a
// token after it has expired. Run it under the race detector.
func TestCachedTokensExpireUnderLoad(t *testing.T) {
	var offset atomic.Int64
	clock := func() time.Time { return epoch.Add(time.Duration(offset.Load())) }
	auth := NewAuth(AuthConfig{Algorithm: "HS256", Key: testSecret, Now: clock})
	token := hs256(claimsAt(epoch, ""))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				over := offset.Load() >= int64(time.Hour)
				if o := checkToken(auth, token); over && o.Reason != TokenExpired {
					t.Errorf("after it expired: %s", o.Reason)
				}
			}
		})
	}
	offset.Store(int64(time.Hour))
	wg.Wait()
	checkReason(t, checkToken(auth, token), TokenExpired)
}
