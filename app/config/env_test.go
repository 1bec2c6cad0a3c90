package config

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	clearEnv(t)
	path := writeConfig(t, `{"application":{"port":1111},"log":{"colored":true},"redis":{"addr":"file:1"}}`)
	t.Setenv("TYK_PROX_APPLICATION__PORT", "2222")
	t.Setenv("TYK_PROX_LOG__COLORED", "false")
	t.Setenv("TYK_PROX_SERVER_TIMEOUTS__DRAINDELAY", "0s")
	t.Setenv("TYK_PROX_TELEMETRY__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1")
	t.Setenv("TYK_PROX_TELEMETRY__TRACES__SAMPLE_RATIO", "0")

	want := Default()
	want.Application.Port = 1111
	want.Redis.Addr = "file:1"
	got, _, err := Load(path, false)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("without -env: error %v (-want +got):\n%s", err, diff)
	}

	want.Application.Port = 2222
	want.Log.Colored = false
	want.ServerTimeouts.DrainDelay = 0
	want.Telemetry.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.1"}
	want.Telemetry.Traces.SampleRatio = 0
	got, _, err = Load(path, true)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("with -env: error %v (-want +got):\n%s", err, diff)
	}
}

func TestEnvironmentFaults(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_APPLICATION__PORT", "010")
	t.Setenv("TYK_PROX_APPLICATION__TOKEN__JWT_SECRT", "hunter2hunter2")
	t.Setenv("TYK_PROX_LOG__COLORED", "")
	t.Setenv("TYK_PROX_RATE_LIMIT__WINDOW", "soon")
	want := []string{
		`application.port (TYK_PROX_APPLICATION__PORT) = "010": cannot be read; want a whole number`,
		`rate_limit.window (TYK_PROX_RATE_LIMIT__WINDOW) = "soon": cannot be read; want a duration such as "5s"`,
		`log.colored (TYK_PROX_LOG__COLORED) = "": cannot be read; want true or false`,
		`TYK_PROX_APPLICATION__TOKEN__JWT_SECRT: unknown variable; did you mean TYK_PROX_APPLICATION__TOKEN__JWT_SECRET?`,
	}
	_, _, err := Load("", true)
	if diff := cmp.Diff(want, faultsOf(t, err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the value of an unknown variable is shown")
	}
}

func TestEnvironmentValueFaults(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_APPLICATION__TOKEN__JWT_SECRET", "")
	t.Setenv("TYK_PROX_LOG__LEVEL", "loud")
	want := []string{
		"application.token.jwt_secret (TYK_PROX_APPLICATION__TOKEN__JWT_SECRET) = (0 bytes): " +
			"is too short for HS256; want at least 32 bytes",
		`log.level (TYK_PROX_LOG__LEVEL) = "loud": is not known; want one of Debug, Info, Warn, Error, Fatal`,
	}
	_, _, err := Load(writeConfig(t, `{"log":{"level":"Info"}}`), true)
	if diff := cmp.Diff(want, faultsOf(t, err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every variable reaches the field whose key it is named after.
func TestEveryVariable(t *testing.T) {
	clearEnv(t)
	cfg := Default()
	for _, k := range keysOf(&cfg) {
		text := "x"
		switch k.field.(type) {
		case *int, *float64:
			text = "42"
		case *bool:
			text = strconv.FormatBool(k.text() != "true")
		case *Duration:
			text = "42s"
		}
		t.Setenv(k.env, text)
		l := newLoader(true)
		l.readEnv()
		for _, read := range l.keys {
			if read.path == k.path && read.text() != text {
				t.Errorf("%s=%s reads as %s %v", k.env, text, read.text(), l.faults)
			}
		}
	}
}
