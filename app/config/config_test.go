package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/middleware"
)

func TestLoadDefaults(t *testing.T) {
	clearEnv(t)
	got, warnings, err := Load("", false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("(-default +loaded):\n%s", diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "demo secret") {
		t.Errorf("warnings %q, want one about the demo secret", warnings)
	}
}

func TestNoWarningWithOwnKeys(t *testing.T) {
	inKeys(t)
	clearEnv(t)
	for name, token := range map[string]string{
		"own secret": `{"jwt_secret":"` + strings.Repeat("k", 32) + `"}`,
		"public key": `{"algorithm":"ES256","public_key_file":"key.pem"}`,
	} {
		_, warnings, err := Load(writeConfig(t, `{"application":{"token":`+token+`}}`), false)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: warnings %q, error %v", name, warnings, err)
		}
	}
}

// Whoever sets variables expects them to count.
func TestWarningOfVariablesNotRead(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_APPLICATION__TOKEN__JWT_SECRET", "a secret of at least thirty-two bytes")
	t.Setenv("TYK_PROX_LOG__LEVEL", "info")
	_, warnings, err := Load("", false)
	if err != nil {
		t.Fatal(err)
	}
	last := warnings[0]
	for _, want := range []string{"TYK_PROX_APPLICATION__TOKEN__JWT_SECRET", "TYK_PROX_LOG__LEVEL", "-env"} {
		if !strings.Contains(last, want) {
			t.Errorf("the warning %q does not name %s", last, want)
		}
	}
	if strings.Contains(last, "thirty-two") {
		t.Error("the warning shows a secret")
	}
	if _, warnings, err = Load("", true); err != nil || len(warnings) > 0 {
		t.Errorf("with -env: warnings %q, error %v", warnings, err)
	}
}

func TestExplicitZeroIsRespected(t *testing.T) {
	cfg, _, err := Load(writeConfig(t, `{
		"application":{"port":0,"token":{"leeway":"0s"}},
		"server_timeouts":{"drainDelay":"0s"},
		"telemetry":{"traces":{"sample_ratio":0},"trusted_proxies":[]},
		"log":{"colored":false},
		"monitoring":{"port":0}}`), false)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Application.Port = 0
	want.Application.Token.Leeway = 0
	want.ServerTimeouts.DrainDelay = 0
	want.Telemetry.Traces.SampleRatio = 0
	want.Log.Colored = false
	want.Monitoring.Port = 0
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAcceptedForms(t *testing.T) {
	inKeys(t)
	for _, text := range []string{
		`{"application":{"target_host":"https://[::1]:8443/"}}`,
		`{"application":{"token":{"algorithm":"HS512"}}}`,
		`{"application":{"token":{"jwt_secret":"","algorithm":"ES256","public_key_file":"key.pem"}}}`,
		`{"redis":{"addr":"[::1]:6379","tls":true,"tls_ca_file":"ca.pem","client_side_cache":false}}`,
		`{"rate_limit":{"window":"24h"}}`,
		`{"telemetry":{"trusted_proxies":["10.0.0.0/8","192.0.2.1","fd00::/8"]}}`,
		`{"telemetry":{"traces":{"endpoint":"grpcs://collector:4317","sample_ratio":0.25}}}`,
		`{"telemetry":{"traces":{"endpoint":"http://jaeger:4318/v1/traces"}}}`,
		`{"log":{"level":"fATAL","format":"json"}}`,
		`{"monitoring":{"ip":"::1","scheme":"https","tls_cert_file":"c.pem","tls_key_file":"k.pem"}}`,
		"\n {} \n",
		"\xef\xbb\xbf{}", // the byte order mark that some editors write
	} {
		if _, _, err := Load(writeConfig(t, text), false); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

// One message carries all faults of the structure, of file and environment.
func TestAllStructuralFaultsAtOnce(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_REDIS__DB", "one")
	_, _, err := Load(writeConfig(t, `{
		"application":{"port":70000,"token":{"jwt_secret":"short","algorithm":"HS9"}},
		"redis":{"adr":"x:1","timeout":5},
		"monitoring":{"port":"9090"}}`), true)
	want := `configuration refused: 4 faults
  redis.adr: unknown key; did you mean redis.addr?
  redis.timeout = 5: is a number; want a duration such as "5s"
  monitoring.port = "9090": is a string; want a whole number
  redis.db (TYK_PROX_REDIS__DB) = "one": cannot be read; want a whole number`
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One message carries all faults of the values and of their relations.
func TestAllValueFaultsAtOnce(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_REDIS__DB", "-1")
	_, _, err := Load(writeConfig(t, `{
		"application":{"port":70000,"target_host":"http://u:hunter2@backend","token":{"jwt_secret":"short","algorithm":"HS9"}}}`), true)
	algorithms := strings.Join(middleware.Algorithms(), ", ")
	want := `configuration refused: 5 faults
  application.target_host = "http://***@backend": carries credentials; want http|https://host:port and nothing behind it
  application.port = 70000: is not a port; want 0 to 65535
  application.token.algorithm = "HS9": is not known; want one of ` + algorithms + `
  application.token.jwt_secret = (5 bytes): is too short for any algorithm; want at least 32 bytes
  redis.db (TYK_PROX_REDIS__DB) = -1: is negative; want 0 or a whole number above it`
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "60s", 90 * time.Second: "90s", 500 * time.Millisecond: "500ms",
		90500 * time.Millisecond: "1m30.5s", 5 * time.Microsecond: "5µs", -time.Second: "-1s",
	} {
		text, err := Duration(d).MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("%v: %q, %v; want %q", d, text, err, want)
		}
		var back Duration
		if err := back.UnmarshalText(text); err != nil || back != Duration(d) {
			t.Errorf("%q reads as %v, %v", text, back, err)
		}
	}
}

func TestShown(t *testing.T) {
	public, secret := key{field: new(string)}, key{field: new(Secret)}
	for text, want := range map[string]string{
		"http://u:p@h":                     `"http://***@h"`,
		"u:p@h:6379":                       `"***@h:6379"`,
		"http://u:p@x@h/%zz":               `"http://***@h/%zz"`,
		"http://h/?key=p":                  `"http://h/?***"`,
		"u:p@redis://h":                    `"***@redis://h"`,
		"http://u:p?x@h":                   `"http://***@h"`,
		"a\nb":                             `"a\nb"`,
		strings.Repeat("x", 63) + "é tail": `"` + strings.Repeat("x", 63) + `é"...`,
	} {
		if got := public.shown(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
		if got := secret.shown(text); strings.Contains(got, text) {
			t.Errorf("a secret is shown as %s", got)
		}
	}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clearEnv hides variables of ours that the machine running the tests has set.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TYK_PROX") {
			t.Setenv(name, "") // restores the value when the test ends
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatalf("error %v, want an *Error", err)
	}
	return refused.Faults
}
