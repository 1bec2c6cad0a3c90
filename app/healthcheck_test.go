package app

import (
	"net/url"
	"os"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// The health check does not read the files of the configuration: they may be
// missing while they are replaced.
func TestHealthcheckIgnoresFiles(t *testing.T) {
	certFile, keyFile, _ := selfSigned(t)
	cfg := testConfig(miniredis.RunT(t).Addr(), backend(t))
	cfg.Monitoring.Scheme, cfg.Monitoring.TLSCertFile, cfg.Monitoring.TLSKeyFile = "https", certFile, keyFile
	r := startRun(t, cfg, Options{})
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	gateway, err := url.Parse(r.gateway)
	if err != nil {
		t.Fatal(err)
	}
	clearEnv(t)
	t.Setenv("TYK_PROX_APPLICATION__PORT", gateway.Port())
	file := writeConfig(t, `{"monitoring":{"scheme":"https","tls_cert_file":"`+certFile+`","tls_key_file":"`+keyFile+`"}}`)
	if err := Healthcheck(t.Context(), Options{ConfigPath: file, UseEnv: true}); err != nil {
		t.Error(err)
	}
}
