package middleware

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Algorithms returns the signature algorithms (RFC 7518 §3.1, RFC 8037) that a
// gateway can be configured to accept. "none" is not one of them.
func Algorithms() []string {
	return []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA",
	}
}

// ParseKey returns the key that verifies tokens signed with an algorithm: the
// secret for HS*, the parsed public key for all others.
func ParseKey(algorithm string, secret, publicKeyPEM []byte) (any, error) {
	switch {
	case !slices.Contains(Algorithms(), algorithm):
		return nil, fmt.Errorf("algorithm %q is not one of %s", algorithm, strings.Join(Algorithms(), ", "))
	case strings.HasPrefix(algorithm, "HS"):
		if len(secret) == 0 {
			return nil, errors.New("the secret is empty")
		}
		return secret, nil
	case strings.HasPrefix(algorithm, "RS"), strings.HasPrefix(algorithm, "PS"):
		return parsePublicKey(jwt.ParseRSAPublicKeyFromPEM(publicKeyPEM))
	case strings.HasPrefix(algorithm, "ES"):
		return parseECKey(algorithm, publicKeyPEM)
	default:
		return parsePublicKey(jwt.ParseEdPublicKeyFromPEM(publicKeyPEM))
	}
}

func parsePublicKey[K any](key K, err error) (any, error) {
	if err != nil {
		return nil, fmt.Errorf("the public key is not a PEM-encoded key of the algorithm's kind: %w", err)
	}
	return key, nil
}

// parseECKey also checks the curve, which RFC 7518 §3.4 ties to the algorithm:
// no token would verify with another one.
func parseECKey(algorithm string, publicKeyPEM []byte) (any, error) {
	key, err := jwt.ParseECPublicKeyFromPEM(publicKeyPEM)
	if err != nil {
		return parsePublicKey(key, err)
	}
	method, ok := jwt.GetSigningMethod(algorithm).(*jwt.SigningMethodECDSA)
	if !ok || key.Curve.Params().BitSize != method.CurveBits {
		return nil, fmt.Errorf("the public key's curve is not that of %s", algorithm)
	}
	return key, nil
}

// AuthConfig configures the auth stage.
type AuthConfig struct {
	Algorithm string           // the one accepted algorithm, of [Algorithms]
	Key       any              // from [ParseKey]
	Leeway    time.Duration    // tolerated clock difference for exp, nbf and iat
	MaxBytes  int              // of a token; 0 means [DefaultMaxTokenBytes]
	Now       func() time.Time // nil means time.Now
}

// Auth is the first stage: it verifies the bearer JWT (RFC 6750, RFC 7519)
// with the configured algorithm and key only, as RFC 8725 §3.1 requires; the
// token's own header chooses nothing.
type Auth struct {
	algorithm string
	key       any
	maxBytes  int
	parser    *jwt.Parser
	verified  *verified
}

// NewAuth returns the stage.
func NewAuth(cfg AuthConfig) *Auth {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxTokenBytes
	}
	return &Auth{
		algorithm: cfg.Algorithm,
		maxBytes:  cfg.MaxBytes,
		key:       cfg.Key,
		verified:  newVerified(cfg.Leeway, cfg.Now),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{cfg.Algorithm}),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithStrictDecoding(),
			jwt.WithLeeway(cfg.Leeway),
			jwt.WithTimeFunc(cfg.Now),
		),
	}
}

// Name implements [Stage].
func (*Auth) Name() string { return StageAuth }

// maxHeaderFields bounds the header fields of a request, Host not counted. The
// server bounds their size; backends have limits for their number, too, and some
// take time for each.
const maxHeaderFields = 100

// tooMany reports whether a header has more than [maxHeaderFields] fields.
func tooMany(h http.Header) bool {
	fields := 0
	for _, values := range h {
		fields += len(values)
	}
	return fields > maxHeaderFields
}

// Check implements [Stage].
func (a *Auth) Check(_ context.Context, ex *Exchange) Outcome {
	if tooMany(ex.Request.Header) {
		return Outcome{Reason: HeadersTooMany}
	}
	// net/http refuses a missing Host, but not an empty one (RFC 9112 §3.2).
	if ex.Request.Host == "" && ex.Request.ProtoAtLeast(1, 1) {
		return Outcome{Reason: HostMissing}
	}
	token, reason := ParseBearer(ex.Request.Header["Authorization"], a.maxBytes)
	if reason != ReasonNone {
		return Outcome{Reason: reason}
	}
	hash := sha256.Sum256([]byte(token))
	claims, known := a.verified.lookup(hash)
	if !known {
		if claims, reason = a.verify(token); reason != Authenticated {
			return Outcome{Reason: reason}
		}
		a.verified.claims.Add(hash, claims)
	}
	ex.Claims = claims
	return Outcome{Reason: Authenticated}
}

func (a *Auth) verify(token string) (Claims, Reason) {
	if reason := a.checkHeader(token); reason != ReasonNone {
		return Claims{}, reason
	}
	var claims wireClaims
	if _, err := a.parser.ParseWithClaims(token, &claims, a.keyFunc); err != nil {
		return Claims{}, tokenReason(err)
	}
	if claims.badKey {
		return Claims{}, APIKeyInvalid
	}
	return claims.Claims, Authenticated
}

func (a *Auth) keyFunc(*jwt.Token) (any, error) { return a.key, nil }

// checkHeader checks the JOSE header before golang-jwt reads it: golang-jwt
// v5.3 takes the last of duplicate members and ignores "crit", which RFC 7515
// §4.1.11 does not allow.
func (a *Auth) checkHeader(token string) Reason {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return TokenMalformed
	}
	header, err := decodeObject(raw)
	if err != nil {
		return TokenMalformed
	}
	for _, extension := range []string{"crit", "b64", "zip"} {
		if _, ok := header[extension]; ok {
			return TokenMalformed
		}
	}
	algorithm, err := stringMember(header, "alg")
	if err != nil {
		return TokenMalformed
	}
	if algorithm != a.algorithm {
		return AlgorithmNotAllowed
	}
	return ReasonNone
}

// tokenReason returns the reason for an error of golang-jwt. The library joins
// its errors, so the order matters: a wrong signature comes before wrong times.
func tokenReason(err error) Reason {
	for _, row := range []struct {
		is     error
		reason Reason
	}{
		{jwt.ErrTokenMalformed, TokenMalformed},
		{jwt.ErrTokenUnverifiable, TokenMalformed},
		{jwt.ErrTokenSignatureInvalid, SignatureInvalid},
		{jwt.ErrTokenExpired, TokenExpired},
		{jwt.ErrTokenNotValidYet, TokenNotYetValid},
		{jwt.ErrTokenUsedBeforeIssued, TokenNotYetValid},
	} {
		if errors.Is(err, row.is) {
			return row.reason
		}
	}
	return ClaimsInvalid
}

// maxVerified bounds the tokens that are remembered; one takes about 300 bytes.
const maxVerified = 32 << 10

// verified caches the claims of tokens whose signature was verified, so that a
// token which is sent again costs a hash and not a signature. It belongs to one
// [Auth], and so to one key. It is safe for concurrent use.
//
// The key of an entry is the SHA-256 of the whole token, signature included, so
// only a client that sends a valid token finds one. The time of an answer tells
// whether the same token was sent before, and nothing about any other token.
type verified struct {
	claims *lru.Cache[[sha256.Size]byte, Claims]
	leeway time.Duration
	now    func() time.Time
}

func newVerified(leeway time.Duration, now func() time.Time) *verified {
	claims, err := lru.New[[sha256.Size]byte, Claims](maxVerified)
	if err != nil {
		panic(err) // only a size below 1 is an error
	}
	return &verified{claims: claims, leeway: leeway, now: now}
}

// lookup returns the claims of a token that was verified before and is valid
// now. It removes a token that has expired.
func (v *verified) lookup(key [sha256.Size]byte) (Claims, bool) {
	claims, ok := v.claims.Get(key)
	if ok && !claims.validAt(v.now(), v.leeway) {
		v.claims.Remove(key)
		return Claims{}, false
	}
	return claims, ok
}
