package middleware

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// authRow is an Authorization header and the reason that auth returns for it.
type authRow struct {
	name   string
	values []string
	want   Reason
}

func testAuth() *Auth {
	return NewAuth(AuthConfig{Algorithm: "HS256", Key: testSecret, Leeway: testLeeway, Now: fixed})
}

func checkAuth(t *testing.T, auth *Auth, row authRow) {
	t.Helper()
	r := &http.Request{Header: http.Header{}}
	if row.values != nil {
		r.Header["Authorization"] = row.values
	}
	ex := &Exchange{Request: r}
	checkReason(t, auth.Check(t.Context(), ex), row.want)
	if row.want != Authenticated && ex.Claims != (Claims{}) {
		t.Errorf("the exchange has the claims of a refused token: %+v", ex.Claims)
	}
}

// bearerRows are Authorization headers with and without a token.
func bearerRows() []authRow {
	good := hs256(claimsAt(epoch, ""))
	return []authRow{
		{"good", []string{"Bearer " + good}, Authenticated},
		{"lower-case scheme", []string{"bearer " + good}, Authenticated},
		{"upper-case scheme", []string{"BEARER " + good}, Authenticated},
		{"several spaces", []string{"Bearer   " + good}, Authenticated},
		{"missing", nil, CredentialsMissing},
		{"no values", []string{}, CredentialsMissing},
		{"empty value", []string{""}, CredentialsMissing},
		{"scheme alone", []string{"Bearer"}, CredentialsMissing},
		{"scheme and space", []string{"Bearer "}, CredentialsMissing},
		{"no space", []string{"Bearer" + good}, CredentialsMissing},
		{"tab instead of space", []string{"Bearer\t" + good}, CredentialsMissing},
		{"leading space", []string{" Bearer " + good}, CredentialsMissing},
		{"token alone", []string{good}, CredentialsMissing},
		{"Basic", []string{"Basic dXNlcjpwYXNz"}, CredentialsMissing},
		{"Basic with a token", []string{"Basic " + good}, CredentialsMissing},
		{"longer scheme", []string{"Bearers " + good}, CredentialsMissing},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, CredentialsAmbiguous},
		{"good and Basic", []string{"Bearer " + good, "Basic dXNlcjpwYXNz"}, CredentialsAmbiguous},
		{"good and empty", []string{"Bearer " + good, ""}, CredentialsAmbiguous},
		{"two in one header", []string{"Bearer " + good + ", Bearer " + good}, TokenMalformed},
		{"trailing space", []string{"Bearer " + good + " "}, TokenMalformed},
		{"16 KiB", []string{"Bearer " + strings.Repeat("a", 16<<10)}, TokenMalformed},
		{"16 KiB + 1", []string{"Bearer " + strings.Repeat("a", 16<<10+1)}, TokenTooLarge},
		{"64 Ki dots", []string{"Bearer " + strings.Repeat(".", 64<<10)}, TokenTooLarge},
		{"no dots", []string{"Bearer abc"}, TokenMalformed},
		{"one dot", []string{"Bearer a.b"}, TokenMalformed},
		{"three dots", []string{"Bearer " + good + ".x"}, TokenMalformed},
		{"many dots", []string{"Bearer " + strings.Repeat(".", 5)}, TokenMalformed},
		{"empty header part", []string{"Bearer ." + strings.SplitN(good, ".", 2)[1]}, TokenMalformed},
		{"padding", []string{"Bearer " + good + "="}, TokenMalformed},
		{"standard alphabet", []string{"Bearer a+b.c/d.e"}, TokenMalformed},
		{"tilde", []string{"Bearer a~.b.c"}, TokenMalformed},
		{"NUL", []string{"Bearer " + good + "\x00"}, TokenMalformed},
	}
}

// headerRows are JOSE headers.
func headerRows() []authRow {
	claims := claimsAt(epoch, "")
	signed := func(header string) []string {
		return []string{"Bearer " + compact(header, claims, jwt.SigningMethodHS256, testSecret)}
	}
	unsigned := func(header string) []string { return []string{"Bearer " + b64(header) + "." + b64(claims) + "."} }
	foreign := func(header string, method jwt.SigningMethod) []string {
		return []string{"Bearer " + compact(header, claims, method, testSecret)}
	}
	return []authRow{
		{"no typ", signed(`{"alg":"HS256"}`), Authenticated},
		{"alg none", unsigned(`{"alg":"none"}`), AlgorithmNotAllowed},
		{"alg None", unsigned(`{"alg":"None"}`), AlgorithmNotAllowed},
		{"alg nOnE", unsigned(`{"alg":"nOnE"}`), AlgorithmNotAllowed},
		{"alg none with a good signature", signed(`{"alg":"none"}`), AlgorithmNotAllowed},
		{"alg empty", unsigned(`{"alg":""}`), AlgorithmNotAllowed},
		{"alg hs256", signed(`{"alg":"hs256"}`), AlgorithmNotAllowed},
		{"alg HS384 by the same secret", foreign(`{"alg":"HS384"}`, jwt.SigningMethodHS384), AlgorithmNotAllowed},
		{"alg RS256", signed(`{"alg":"RS256"}`), AlgorithmNotAllowed},
		{"HS384 signature under alg HS256", foreign(headerHS256, jwt.SigningMethodHS384), SignatureInvalid},
		{"empty signature", unsigned(headerHS256), SignatureInvalid},
		{"no alg", signed(`{"typ":"JWT"}`), TokenMalformed},
		{"alg null", signed(`{"alg":null}`), TokenMalformed},
		{"alg number", signed(`{"alg":256}`), TokenMalformed},
		{"alg list", signed(`{"alg":["HS256"]}`), TokenMalformed},
		{"ALG beside nothing", signed(`{"ALG":"HS256"}`), TokenMalformed},
		{"alg twice", signed(`{"alg":"HS256","alg":"HS256"}`), TokenMalformed},
		{"alg twice, none last", unsigned(`{"alg":"HS256","alg":"none"}`), TokenMalformed},
		{"alg twice, once escaped", signed(`{"alg":"HS256","\u0061lg":"HS256"}`), TokenMalformed},
		{"crit", signed(`{"alg":"HS256","crit":["x"],"x":1}`), TokenMalformed},
		{"crit empty", signed(`{"alg":"HS256","crit":[]}`), TokenMalformed},
		{"b64 false", signed(`{"alg":"HS256","b64":false}`), TokenMalformed},
		{"zip", signed(`{"alg":"HS256","zip":"DEF"}`), TokenMalformed},
		{"not an object", signed(`["HS256"]`), TokenMalformed},
		{"null", signed(`null`), TokenMalformed},
		{"data after the object", signed(headerHS256 + `{}`), TokenMalformed},
		{"not JSON", signed(`{"alg":"HS256"`), TokenMalformed},
		{"65 members", signed(`{"alg":"HS256"` + members(64) + `}`), Authenticated},
		{"bad base64", []string{"Bearer a." + b64(claims) + ".c"}, TokenMalformed},
		// Another encoding of the same bytes is refused.
		{"spare bits", []string{"Bearer " + spareBits(signed(headerHS256)[0][7:])}, TokenMalformed},
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"m` + strings.Repeat("x", i) + `":0`)
	}
	return b.String()
}

// spareBits sets the lowest bit of the signature's last character. The last
// character of 32 bytes in base64 has two unused bits.
func spareBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + alphabet[last|1:last|1+1]
}

func TestAuthBearer(t *testing.T) {
	for _, row := range bearerRows() {
		t.Run(row.name, func(t *testing.T) { checkAuth(t, testAuth(), row) })
	}
}

func TestAuthHeader(t *testing.T) {
	for _, row := range headerRows() {
		t.Run(row.name, func(t *testing.T) { checkAuth(t, testAuth(), row) })
	}
}

func TestAuthClaims(t *testing.T) {
	for _, row := range claimRows() {
		t.Run(row.name, func(t *testing.T) { checkAuth(t, testAuth(), row) })
	}
}

func TestAuthSetsClaims(t *testing.T) {
	token := hs256(`{"api_key":"k-1._~","exp":1767366300.5,"iat":1767366000,"nbf":1767366001}`)
	ex := &Exchange{Request: &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}}}
	checkReason(t, testAuth().Check(t.Context(), ex), Authenticated)
	want := Claims{
		APIKey:    "k-1._~",
		ExpiresAt: time.Unix(1767366300, 5e8),
		IssuedAt:  time.Unix(1767366000, 0),
		NotBefore: time.Unix(1767366001, 0),
	}
	if diff := cmp.Diff(want, ex.Claims); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAuthRefusesEveryChangedByte changes each byte of a good token to another
// character that a token may contain.
func TestAuthRefusesEveryChangedByte(t *testing.T) {
	good, auth := hs256(claimsAt(epoch, "")), testAuth()
	// The good token is in the cache.
	checkReason(t, checkToken(auth, good), Authenticated)
	part := 0
	seen := map[int]map[Reason]int{0: {}, 1: {}, 2: {}}
	for i := range len(good) {
		if good[i] == '.' {
			part++
		}
		for _, c := range []byte{'A', 'b', '_', '.', good[i] ^ 1} {
			if c == good[i] {
				continue
			}
			o := checkToken(auth, good[:i]+string(rune(c))+good[i+1:])
			if o.Proceeds() {
				t.Fatalf("byte %d changed to %q: %s", i, c, o.Reason)
			}
			seen[part][o.Reason]++
		}
	}
	// A changed signature is invalid, not malformed.
	if seen[0][AlgorithmNotAllowed] == 0 || seen[1][SignatureInvalid] == 0 || seen[2][SignatureInvalid] == 0 {
		t.Errorf("reasons by part: %v", seen)
	}
}
