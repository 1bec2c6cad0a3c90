package middleware

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// keys are the configured key and a wrong one of the same kind.
type keys struct {
	right, wrong any
	publicPEM    []byte // of the configured key; nil for a shared secret
}

func publicPEM(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func pair(generate func() (crypto.Signer, error)) keys {
	right, err := generate()
	if err != nil {
		panic(err)
	}
	wrong, err := generate()
	if err != nil {
		panic(err)
	}
	return keys{right, wrong, publicPEM(right)}
}

// rsaKeys are generated once, because generating them is slow.
var rsaKeys = sync.OnceValue(func() keys {
	return pair(func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) })
})

func keysFor(algorithm string) keys {
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	switch algorithm[:2] {
	case "HS":
		return keys{right: testSecret, wrong: bytes.ToUpper(testSecret)}
	case "RS", "PS":
		return rsaKeys()
	case "ES":
		return pair(func() (crypto.Signer, error) { return ecdsa.GenerateKey(curves[algorithm], rand.Reader) })
	}
	return pair(func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	})
}

func TestEveryAlgorithmVerifies(t *testing.T) {
	claims := claimsAt(epoch, "")
	for _, algorithm := range Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			keys := keysFor(algorithm)
			key, err := ParseKey(algorithm, testSecret, keys.publicPEM)
			if err != nil {
				t.Fatal(err)
			}
			auth := NewAuth(AuthConfig{Algorithm: algorithm, Key: key, Now: fixed})
			method, header := jwt.GetSigningMethod(algorithm), `{"alg":"`+algorithm+`"}`
			for _, row := range []authRow{
				{"right key", []string{compact(header, claims, method, keys.right)}, Authenticated},
				{"wrong key", []string{compact(header, claims, method, keys.wrong)}, SignatureInvalid},
				{"unsigned", []string{b64(header) + "." + b64(claims) + "."}, SignatureInvalid},
				{"alg none", []string{b64(`{"alg":"none"}`) + "." + b64(claims) + "."}, AlgorithmNotAllowed},
			} {
				if _, reason := auth.verify(row.values[0]); reason != row.want {
					t.Errorf("%s: got %s, want %s", row.name, reason, row.want)
				}
			}
		})
	}
}

// TestPublicKeyIsNoSecret checks that a token which was signed with the public key
// as an HMAC secret is refused (RFC 8725 §2.1).
func TestPublicKeyIsNoSecret(t *testing.T) {
	public, claims := rsaKeys().publicPEM, claimsAt(epoch, "")
	key, err := ParseKey("RS256", nil, public)
	if err != nil {
		t.Fatal(err)
	}
	auth := NewAuth(AuthConfig{Algorithm: "RS256", Key: key, Now: fixed})
	for header, want := range map[string]Reason{
		headerHS256:       AlgorithmNotAllowed,
		`{"alg":"RS256"}`: SignatureInvalid,
		`{"alg":"RS384"}`: AlgorithmNotAllowed,
		`{"alg":"rs256"}`: AlgorithmNotAllowed,
	} {
		if _, reason := auth.verify(compact(header, claims, jwt.SigningMethodHS256, public)); reason != want {
			t.Errorf("%s: got %s, want %s", header, reason, want)
		}
	}
}

func TestParseKeyErrors(t *testing.T) {
	p384 := keysFor("ES384").publicPEM
	for _, row := range []struct {
		name, algorithm string
		secret, pem     []byte
		want            string // a part of the message
	}{
		{"none", "none", testSecret, nil, "is not one of HS256"},
		{"empty", "", testSecret, nil, "is not one of HS256"},
		{"lower case", "hs256", testSecret, nil, "is not one of HS256"},
		{"prefix of one", "HS", testSecret, nil, "is not one of HS256"},
		{"no secret", "HS256", nil, nil, "secret is empty"},
		{"no PEM", "RS256", testSecret, nil, "PEM"},
		{"junk PEM", "PS512", testSecret, []byte("junk"), "PEM"},
		{"RSA for EdDSA", "EdDSA", nil, rsaKeys().publicPEM, "kind"},
		{"RSA for ES256", "ES256", nil, rsaKeys().publicPEM, "kind"},
		{"P-384 for RS256", "RS256", nil, p384, "kind"},
		{"P-384 for ES256", "ES256", nil, p384, "curve"},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, err := ParseKey(row.algorithm, row.secret, row.pem)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got key %v, error %v, want an error with %q", key, err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), string(testSecret)) {
				t.Errorf("the error contains the secret: %v", err)
			}
		})
	}
}
