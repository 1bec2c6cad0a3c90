package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"tyk_proxy/middleware"
)

// maxFileBytes keeps a wrong file (a log, a device) from filling memory.
const maxFileBytes = 1 << 20

// judgeFiles reports every file the configuration names that cannot be used. The
// gateway reads the files again: what it needs of them has no place in a Config.
func (l *loader) judgeFiles() {
	token, redis, m := &l.cfg.Application.Token, &l.cfg.Redis, &l.cfg.Monitoring
	// What kind of key the file should hold is known with the algorithm only.
	known := slices.Contains(middleware.Algorithms(), token.Algorithm)
	if known && token.PublicKeyFile != "" && badPublicKeyFile(*token) == (problem{}) {
		_, err := token.Key()
		l.expect(&token.PublicKeyFile, badFile(err, "name the PEM file of the public key"))
	}
	if redis.TLS && redis.TLSCAFile != "" {
		_, err := ReadCertificates(redis.TLSCAFile)
		l.expect(&redis.TLSCAFile, badFile(err, "name a PEM file with certificates of authorities"))
	}
	if m.Scheme != "https" {
		return
	}
	if m.TLSCertFile != "" {
		_, err := ReadCertificates(m.TLSCertFile)
		l.expect(&m.TLSCertFile, badFile(err, "name the PEM file of the certificate"))
	}
	if m.TLSKeyFile != "" {
		_, err := readBounded(m.TLSKeyFile)
		// Whether it is the key of the certificate can be asked only if there is one.
		if _, certErr := ReadCertificates(m.TLSCertFile); err == nil && certErr == nil {
			_, err = tls.LoadX509KeyPair(m.TLSCertFile, m.TLSKeyFile)
		}
		l.expect(&m.TLSKeyFile, badFile(err, "name the PEM file of the certificate's private key"))
	}
}

// badFile leaves out the name of the file, which is the value of the fault.
func badFile(err error, fix string) problem {
	var pathErr *fs.PathError
	switch {
	case err == nil:
		return problem{}
	case errors.As(err, &pathErr):
		return problem{"cannot be read: " + pathErr.Err.Error(), fix}
	default:
		return problem{"cannot be used: " + err.Error(), fix}
	}
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // nothing was written
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("it is larger than %d bytes", maxFileBytes)
	}
	return data, err
}

// Key returns the key that verifies tokens: the secret, or the public key of the
// file, which it reads.
func (t Token) Key() (any, error) {
	var publicKey []byte
	if t.PublicKeyFile != "" {
		var err error
		if publicKey, err = readBounded(t.PublicKeyFile); err != nil {
			return nil, err
		}
	}
	return middleware.ParseKey(t.Algorithm, []byte(string(t.JWTSecret)), publicKey)
}

// ReadCertificates reads the certificates of a PEM file.
func ReadCertificates(path string) (*x509.CertPool, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}
