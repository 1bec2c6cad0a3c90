package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inKeys makes the test's directory one with good files: key.pem, the public key
// of c.pem, which k.pem belongs to; ca.pem, an authority; and other.pem, the
// private key of that.
func inKeys(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	writePair(t, "c.pem", "k.pem")
	writePair(t, "ca.pem", "other.pem")
	block, _ := pem.Decode([]byte(readText(t, "c.pem")))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(certificate.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, "key.pem", "PUBLIC KEY", der)
}

// writePair writes a self-signed certificate and its private key.
func writePair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", cert)
	writePEM(t, keyFile, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// All files at once, and together with what is wrong with the values.
func TestAllFileFaultsAtOnce(t *testing.T) {
	inKeys(t)
	_, _, err := Load(writeConfig(t, `{
		"application":{"port":-1,"token":{"algorithm":"ES256","public_key_file":"a.pem"}},
		"redis":{"tls":true,"tls_ca_file":"b.pem"},
		"monitoring":{"scheme":"https","tls_cert_file":".","tls_key_file":"d.pem"}}`), false)
	const want = `configuration refused: 5 faults
  application.port = -1: is not a port; want 0 to 65535
  application.token.public_key_file = "a.pem": cannot be read: no such file or directory; name the PEM file of the public key
  redis.tls_ca_file = "b.pem": cannot be read: no such file or directory; name a PEM file with certificates of authorities
  monitoring.tls_cert_file = ".": cannot be read: is a directory; name the PEM file of the certificate
  monitoring.tls_key_file = "d.pem": cannot be read: no such file or directory; name the PEM file of the certificate's private key`
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFileContentFaults(t *testing.T) {
	inKeys(t)
	if err := os.WriteFile("large.pem", make([]byte, maxFileBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(algorithm, file string) string {
		return `{"application":{"token":{"algorithm":"` + algorithm + `","public_key_file":"` + file + `"}}}`
	}
	listener := func(cert, key string) string {
		return `{"monitoring":{"scheme":"https","tls_cert_file":"` + cert + `","tls_key_file":"` + key + `"}}`
	}
	const (
		publicKey = "application.token.public_key_file = "
		cert, key = "monitoring.tls_cert_file = ", "monitoring.tls_key_file = "
		notPublic = ": cannot be used: the public key is not a PEM-encoded key of the algorithm's kind"
		empty     = `"": is empty; https needs the certificate and the key`
	)
	for file, want := range map[string][]string{
		token("RS256", "key.pem"):   {publicKey + `"key.pem"` + notPublic},
		token("ES256", "k.pem"):     {publicKey + `"k.pem"` + notPublic},
		token("ES384", "key.pem"):   {publicKey + `"key.pem": cannot be used: the public key's curve is not that of ES384`},
		token("ES256", "large.pem"): {publicKey + `"large.pem": cannot be used: it is larger than 1048576 bytes`},
		token("es256", "none"):      {`application.token.algorithm = "es256": is not known; write it as ES256`},
		`{"redis":{"tls":true,"tls_ca_file":"key.pem"}}`: {
			`redis.tls_ca_file = "key.pem": cannot be used: it holds no PEM certificate`,
		},
		listener("c.pem", ""):          {key + empty},
		listener("", "k.pem"):          {cert + empty},
		listener("c.pem", "other.pem"): {key + `"other.pem": cannot be used: tls: private key does not match public key`},
		listener("c.pem", "c.pem"):     {key + `"c.pem": cannot be used: tls: found a certificate rather than a key`},
		listener("k.pem", "c.pem"):     {cert + `"k.pem": cannot be used: it holds no PEM certificate`},
	} {
		_, _, err := Load(writeConfig(t, file), false)
		faults := faultsOf(t, err)
		if len(faults) != len(want) {
			t.Errorf("%s: %v, want %d faults", file, err, len(want))
			continue
		}
		for i, fault := range faults {
			if !strings.HasPrefix(fault, want[i]) {
				t.Errorf("%s: %s, want %s", file, fault, want[i])
			}
		}
	}
}
