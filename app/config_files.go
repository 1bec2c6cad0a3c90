package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"tyk_proxy/middleware"
)

// validateFiles reports every file the configuration names that cannot be used,
// together with the faults of the values. NewGateway reads the files again: what
// it needs of them has no place in a Config.
func (l *loader) validateFiles() {
	const token, monitoring = "application.token.", "monitoring."
	l.expect(token+"public_key_file", badPublicKey, token+"algorithm")
	l.expect("redis.tls_ca_file", badAuthorities, "redis.tls")
	l.expect(monitoring+"tls_cert_file", badCertificate, monitoring+"scheme")
	l.expect(monitoring+"tls_key_file", badCertificateKey, monitoring+"scheme")
}

func badPublicKey(c *Config) (problem, fix string) {
	token := c.Application.Token
	if problem, _ := badPublicKeyFile(c); problem != "" || token.PublicKeyFile == "" {
		return "", "" // the name is at fault, not the file
	}
	_, err := readNamed(token.PublicKeyFile)
	// What kind of key it should hold is known with the algorithm only.
	if err == nil && slices.Contains(middleware.Algorithms(), token.Algorithm) {
		_, err = readPublicKey(token)
	}
	return fileProblem(err), "name the PEM file of the public key"
}

// readPublicKey returns the key that verifies tokens, of whatever kind.
func readPublicKey(token TokenConfig) (any, error) {
	var publicKey []byte
	if token.PublicKeyFile != "" {
		var err error
		if publicKey, err = readNamed(token.PublicKeyFile); err != nil {
			return nil, err
		}
	}
	return middleware.ParseKey(token.Algorithm, []byte(string(token.JWTSecret)), publicKey)
}

func badAuthorities(c *Config) (problem, fix string) {
	if !c.Redis.TLS || c.Redis.TLSCAFile == "" {
		return "", ""
	}
	_, err := readCertificates(c.Redis.TLSCAFile)
	return fileProblem(err), "name a PEM file with certificates of authorities"
}

func readCertificates(path string) (*x509.CertPool, error) {
	text, err := readNamed(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}

func badCertificate(c *Config) (problem, fix string) {
	if c.Monitoring.Scheme != "https" || c.Monitoring.TLSCertFile == "" {
		return "", ""
	}
	_, err := readCertificates(c.Monitoring.TLSCertFile)
	return fileProblem(err), "name the PEM file of the certificate"
}

func badCertificateKey(c *Config) (problem, fix string) {
	m := c.Monitoring
	if m.Scheme != "https" || m.TLSKeyFile == "" {
		return "", ""
	}
	err := holdsPrivateKey(m.TLSKeyFile)
	// Whether the two belong together is a question only where each is one.
	if certificate, _ := badCertificate(c); err == nil && certificate == "" && m.TLSCertFile != "" {
		_, err = tls.LoadX509KeyPair(m.TLSCertFile, m.TLSKeyFile)
	}
	return fileProblem(err), "name the PEM file of the certificate's private key"
}

func holdsPrivateKey(path string) error {
	text, err := readNamed(path)
	if err != nil {
		return err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil
		}
	}
	return errors.New("it holds no PEM private key")
}

// readNamed bounds what a wrong name can cost, as for -config.
func readNamed(path string) ([]byte, error) {
	data, err := readBounded(path)
	if err == nil && len(data) > maxConfigBytes {
		err = fmt.Errorf("it is larger than %d bytes", maxConfigBytes)
	}
	return data, err
}

// fileProblem leaves out the file's name, which is the value of the fault.
func fileProblem(err error) string {
	var pathErr *fs.PathError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &pathErr):
		return "cannot be read: " + pathErr.Err.Error()
	default:
		return "cannot be used: " + err.Error()
	}
}
