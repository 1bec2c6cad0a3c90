package app

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/sirupsen/logrus"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/redisstore"
)

func backend(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	return server.URL
}

func discardLogger() *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logger
}

const apiKey = "k1"

// record stores the token's record in Redis. The tests sign the JWT.
func record(t *testing.T, redis *miniredis.Miniredis) {
	t.Helper()
	text := fmt.Sprintf(`{"api_key":%q,"rate_limit":100,"expires_at":%q,"allowed_routes":["/api/v1/test"]}`,
		apiKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if err := redis.Set(redisstore.RecordPrefix+apiKey, text); err != nil {
		t.Fatal(err)
	}
}

func sign(t *testing.T, method jwt.SigningMethod, key any) string {
	t.Helper()
	now := time.Now()
	text, err := jwt.NewWithClaims(method, jwt.MapClaims{
		"api_key": apiKey, "rate_limit": 100, "expires_at": now.Add(time.Hour).UTC().Format(time.RFC3339),
		"allowed_routes": []string{"/api/v1/test"}, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Each kind of public key is read from a PEM file and verifies tokens.
func TestPublicKeys(t *testing.T) {
	rsaKey, rsaErr := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, ecErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, edErr := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(rsaErr, ecErr, edErr); err != nil {
		t.Fatal(err)
	}
	redis, target := miniredis.RunT(t), backend(t)
	record(t, redis)
	for name, key := range map[string]crypto.Signer{"RS256": rsaKey, "ES256": ecKey, "EdDSA": edKey} {
		t.Run(name, func(t *testing.T) {
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			cfg := testConfig(redis.Addr(), target)
			cfg.Application.Token.Algorithm = name
			cfg.Application.Token.PublicKeyFile = writePEM(t, "PUBLIC KEY", der)
			r := startRun(t, cfg, Options{})
			url := r.gateway + "/api/v1/test"
			r.want(url, sign(t, jwt.GetSigningMethod(name), key), http.StatusOK, "")
			// Algorithm confusion: the public key must not work as an HMAC
			// secret.
			public, err := os.ReadFile(cfg.Application.Token.PublicKeyFile)
			if err != nil {
				t.Fatal(err)
			}
			r.want(url, sign(t, jwt.SigningMethodHS256, public), http.StatusUnauthorized, "algorithm_not_allowed")
			r.want(url, sign(t, jwt.SigningMethodHS256, []byte(config.DemoSecret)), http.StatusUnauthorized, "algorithm_not_allowed")
		})
	}
}

// selfSigned writes a certificate for the loopback address and its key. It
// returns a pool that trusts it.
func selfSigned(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(certificate)
	return writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", keyDER), pool
}

func TestMetricsOverTLS(t *testing.T) {
	cfg := testConfig(miniredis.RunT(t).Addr(), backend(t))
	var pool *x509.CertPool
	cfg.Monitoring.Scheme = "https"
	cfg.Monitoring.TLSCertFile, cfg.Monitoring.TLSKeyFile, pool = selfSigned(t)
	r := startRun(t, cfg, Options{})
	r.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	if got := r.get(r.metrics+"/metrics", ""); got.status != http.StatusOK || !strings.Contains(got.body, "go_goroutines ") {
		t.Errorf("%d, want 200 and metrics", got.status)
	}
	r.want(r.gateway+"/ready", "", http.StatusOK, "") // the gateway itself stays plain
}

// The gateway connects to Redis only if the configured CA signed its
// certificate.
func TestRedisOverTLS(t *testing.T) {
	certFile, keyFile, _ := selfSigned(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	redis, err := miniredis.RunTLS(&tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	record(t, redis)
	cfg := testConfig(redis.Addr(), backend(t))
	cfg.Redis.TLS, cfg.Redis.TLSCAFile = true, certFile
	r := startGateway(t, cfg)
	r.want(r.gateway+"/ready", "", http.StatusOK, "")
	r.want(r.gateway+"/api/v1/test", sign(t, jwt.SigningMethodHS256, []byte(config.DemoSecret)), http.StatusOK, "")
	r.stop()

	other, _, _ := selfSigned(t)
	for name, set := range map[string]func(*config.Redis){
		"another authority": func(c *config.Redis) { c.TLSCAFile = other },
		"the system's":      func(c *config.Redis) { c.TLSCAFile = "" },
		"plain text":        func(c *config.Redis) { c.TLS, c.TLSCAFile = false, "" },
	} {
		cfg := cfg
		set(&cfg.Redis)
		r := startGateway(t, cfg)
		if got := r.get(r.gateway+"/ready", ""); got.reason != notReadyStore {
			t.Errorf("%s: %d %q, want not ready", name, got.status, got.reason)
		}
		r.stop()
	}
}

// NewGateway checks the files again, and its error names the key.
func TestInvalidFiles(t *testing.T) {
	certFile, keyFile, _ := selfSigned(t)
	_, otherKey, _ := selfSigned(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for want, set := range map[string]func(*config.Config){
		"application.token.public_key_file: open " + missing: func(c *config.Config) {
			c.Application.Token = config.Token{Algorithm: "RS256", PublicKeyFile: missing}
		},
		"application.token.public_key_file: the public key is not": func(c *config.Config) {
			c.Application.Token = config.Token{Algorithm: "RS256", PublicKeyFile: certFile} // of an EC key
		},
		"redis.tls_ca_file: open " + missing:             func(c *config.Config) { c.Redis.TLS, c.Redis.TLSCAFile = true, missing },
		"redis.tls_ca_file: it holds no PEM certificate": func(c *config.Config) { c.Redis.TLS, c.Redis.TLSCAFile = true, keyFile },
		"monitoring.tls_cert_file and tls_key_file: open " + missing: func(c *config.Config) {
			c.Monitoring = config.Monitoring{Scheme: "https", TLSCertFile: missing, TLSKeyFile: keyFile}
		},
		"monitoring.tls_cert_file and tls_key_file: tls: private key does not match": func(c *config.Config) {
			c.Monitoring = config.Monitoring{Scheme: "https", TLSCertFile: certFile, TLSKeyFile: otherKey}
		},
	} {
		cfg := testConfig("127.0.0.1:1", "http://127.0.0.1:1")
		set(&cfg)
		if _, err := NewGateway(t.Context(), cfg, discardLogger()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Run ends when its context ends and when a listener fails.
func TestRunEnds(t *testing.T) {
	cfg := testConfig(miniredis.RunT(t).Addr(), backend(t))
	for name, broken := range map[string]bool{"context": false, "listener": true} {
		g, err := NewGateway(t.Context(), cfg, discardLogger())
		if err != nil {
			t.Fatal(err)
		}
		listeners, err := g.Listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if broken {
			listeners.Metrics.Close()
		} else {
			cancel()
		}
		if err := g.Run(ctx, listeners, nil); (err != nil) != broken {
			t.Errorf("%s: error %v", name, err)
		}
		cancel()
		if _, err := net.Dial("tcp", local(t, listeners.Public.Addr().String())); err == nil {
			t.Errorf("%s: the gateway still listens", name)
		}
	}
}
