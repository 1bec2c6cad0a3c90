package config

import (
	"slices"
	"strings"
	"testing"
)

// Kubernetes puts the links of its services into every pod, also those of a
// service that is called like the gateway.
func TestServiceLinks(t *testing.T) {
	for name, value := range map[string]string{
		"TYK_PROX_PORT":                    "tcp://10.0.0.7:8080",
		"TYK_PROX_SERVICE_HOST":            "10.0.0.7",
		"TYK_PROX_SERVICE_PORT":            "8080",
		"TYK_PROX_SERVICE_PORT_HTTP_ALT":   "8080",
		"TYK_PROX_PORT_8080_TCP":           "tcp://10.0.0.7:8080",
		"TYK_PROX_PORT_8080_TCP_PROTO":     "tcp",
		"TYK_PROX_PORT_8080_TCP_PORT":      "8080",
		"TYK_PROX_PORT_8080_TCP_ADDR":      "10.0.0.7",
		"TYK_PROX_PORT_53_UDP":             "udp://10.0.0.7:53",
		"TYK_PROX_REDIS_PORT":              "tcp://10.0.0.8:6379", // of a service called tyk-prox-redis
		"TYK_PROX_REDIS_PORT_6379_TCP":     "tcp://10.0.0.8:6379",
		"TYK_PROX_REDIS_SERVICE_HOST":      "10.0.0.8",
		"TYK_PROX_REDIS_SERVICE_PORT":      "6379",
		"TYK_PROXY_PORT":                   "tcp://10.0.0.9:8080",
		"TYK_PROXY_SERVICE_PORT_METRICS":   "9090",
		"TYK_PROXY_PORT_8080_TCP_PROTO":    "tcp",
		"TYK_PROX_2_PORT_8080_SCTP_PORT":   "8080",
		"TYK_PROX_GATEWAY_V1_SERVICE_HOST": "10.0.0.7",
	} {
		if warnings, faults := withVariable(t, name, value); len(warnings)+len(faults) > 0 {
			t.Errorf("%s=%s: warnings %q, faults %q", name, value, warnings, faults)
		}
	}
	for name, value := range map[string]string{
		"TYK_PROX_APPLICATION__PROT": "8080",
		"TYK_PROX_APPLICATION_PORT":  "8080",
		"TYK_PROX_PORT":              "8080",
		"TYK_PROX_PORTS":             "tcp://10.0.0.7:8080",
		"TYK_PROX_REDIS_ADDR":        "redis:6379",
		"TYK_PROX_PORT_HTTP_TCP":     "tcp://10.0.0.7:8080",
	} {
		_, faults := withVariable(t, name, value)
		if len(faults) != 1 || !strings.HasPrefix(faults[0], name+": unknown variable; ") {
			t.Errorf("%s=%s: faults %q, want that it is unknown", name, value, faults)
		}
	}
}

// The likeliest misspelling of the prefix gets a warning by name.
func TestMisspeltPrefix(t *testing.T) {
	warnings, faults := withVariable(t, "TYK_PROXY_REDIS__PASSWORD", "hunter2")
	if len(faults) > 0 || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "TYK_PROXY_REDIS__PASSWORD set but not read") {
		t.Errorf("warnings %q, faults %q", warnings, faults)
	}
	if strings.Contains(strings.Join(warnings, ""), "hunter2") {
		t.Error("the warning shows the value")
	}
}

// withVariable loads the defaults with one variable set and the demo secret
// replaced, which would be warned of.
func withVariable(t *testing.T, name, value string) (warnings, faults []string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		clearEnv(t)
		t.Setenv("TYK_PROX_APPLICATION__TOKEN__JWT_SECRET", strings.Repeat("k", 32))
		t.Setenv(name, value)
		var err error
		if _, warnings, err = Load("", true); err != nil {
			faults = faultsOf(t, err)
		}
	})
	return warnings, faults
}

// A line end at the end of a secret, as files have it, is no part of the secret.
func TestLineEndOfSecrets(t *testing.T) {
	clearEnv(t)
	secret := strings.Repeat("k", 32)
	t.Setenv("TYK_PROX_REDIS__PASSWORD", " pass word\n\n")
	cfg, warnings, err := Load(writeConfig(t, `{
		"application":{"token":{"jwt_secret":"`+secret+`\r\n"}},"telemetry":{"key_id_secret":"in\nside"}}`), true)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Application.Token.JWTSecret != Secret(secret) || cfg.Redis.Password != " pass word" || cfg.Telemetry.KeyIDSecret != "in\nside" {
		t.Errorf("%q, %q, %q", string(cfg.Application.Token.JWTSecret), string(cfg.Redis.Password), string(cfg.Telemetry.KeyIDSecret))
	}
	named := []string{"application.token.jwt_secret ends with a line end", "redis.password ends with a line end"}
	if !slices.EqualFunc(warnings, named, strings.HasPrefix) {
		t.Errorf("warnings %q, want %q", warnings, named)
	}
	// The line end does not make up for a byte that is missing.
	if _, _, err = Load(writeConfig(t, `{"application":{"token":{"jwt_secret":"`+secret[1:]+`\n"}}}`), false); err == nil {
		t.Error("a secret of 31 bytes and a line end is accepted")
	}
}

// Some editors save a byte order mark; in another encoding the file is refused.
func TestByteOrderMark(t *testing.T) {
	cfg, _, err := Load(writeConfig(t, "\xef\xbb\xbf"+`{"redis":{"db":3}}`), false)
	if err != nil || cfg.Redis.DB != 3 {
		t.Errorf("db %d, error %v", cfg.Redis.DB, err)
	}
	_, _, err = Load(writeConfig(t, "\xff\xfe{\x00}\x00"), false)
	if want := "-config: is not UTF-8; save it as UTF-8"; faultsOf(t, err)[0] != want {
		t.Errorf("UTF-16: %v, want %s", err, want)
	}
}
