package dotenv

import (
	"os"
	"strings"
	"testing"

	"tyk_proxy/app/config"
)

const secretVariable = "TYK_PROX_APPLICATION__TOKEN__JWT_SECRET"

// inDirectory makes the working directory one with a .env and a config.json
// whose secret is "from-the-file…", and clears the variables.
func inDirectory(t *testing.T, env string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		".env":        env,
		"config.json": `{"application":{"token":{"jwt_secret":"` + padded("from-the-file") + `"}}}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{secretVariable, gatewayConfig, "TYK_PROX_TELEMETRY__SERVICE_NAME", "GATEWAY_PORT", "REDIS_PORT"} {
		t.Setenv(name, "") // restores the value when the test ends
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

// padded makes a text a secret of 32 bytes.
func padded(text string) string { return text + strings.Repeat("=", 32-len(text)) }

// The environment wins over .env, and both over the configuration file.
func TestSecret(t *testing.T) {
	line := secretVariable + "="
	for name, tt := range map[string]struct{ variable, env, want string }{
		"environment":          {padded("from-the-environment"), line + padded("from-dot-env"), padded("from-the-environment")},
		".env":                 {"", "OTHER=1\n" + line + "\"" + padded("from/dot+env") + "\"\n", padded("from/dot+env")},
		"as people write it":   {"", line + "old\n  export " + secretVariable + " = " + padded("a/b+c") + " # mine\r\n", padded("a/b+c")},
		"a # in quotes":        {"", line + "'" + padded("a # b") + "' # env\nMY_" + line + "x\n#" + line + "y\n", padded("a # b")},
		".env without it":      {"", "OTHER=1\n", padded("from-the-file")},
		"an empty .env":        {"", "", padded("from-the-file")},
		"a dollar in quotes":   {"", line + "'" + padded("$HOME/$x") + "'", padded("$HOME/$x")},
		"a comment and a line": {"", "# a comment\n\n" + line + padded("x") + "\n", padded("x")},
	} {
		t.Run(name, func(t *testing.T) {
			inDirectory(t, tt.env)
			t.Setenv(gatewayConfig, "config.json")
			if tt.variable != "" {
				t.Setenv(secretVariable, tt.variable)
			}
			if err := Read(); err != nil {
				t.Fatal(err)
			}
			cfg, err := Gateway()
			if got := string(cfg.Application.Token.JWTSecret); err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestNoGatewayConfig(t *testing.T) {
	inDirectory(t, secretVariable+"="+padded("x"))
	cfg, err := Gateway()
	if err != nil || cfg.Application.Token.JWTSecret != "" {
		t.Errorf("%v, %v; want an empty configuration", cfg, err)
	}
	t.Setenv(gatewayConfig, "none.json")
	if _, err := Gateway(); err == nil || !strings.Contains(err.Error(), `"none.json": cannot be read`) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := Read(); err != nil {
		t.Errorf("no .env: %v", err)
	}
	if err := os.Mkdir(".env", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Read(); err == nil || !strings.Contains(err.Error(), ".env") {
		t.Errorf("a directory: %v, want an error that names it", err)
	}
}

func TestBrokenFile(t *testing.T) {
	for _, text := range []string{`SECRET="hunter2hunter2`, "hunter2-hunter2=x"} {
		inDirectory(t, text)
		err := Read()
		if err == nil || !strings.HasPrefix(err.Error(), ".env: cannot be read") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error without its text", text, err)
		}
	}
}

func TestPort(t *testing.T) {
	inDirectory(t, "GATEWAY_PORT='7' # moved\nexport REDIS_PORT=8\r\n")
	t.Setenv("REDIS_PORT", "9")
	if err := Read(); err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string]int{"GATEWAY_PORT": 7, "REDIS_PORT": 9, "NO_SUCH_PORT": config.DefaultPort} {
		if port, err := Port(variable, config.DefaultPort); port != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", variable, port, err, want)
		}
	}
	for _, text := range []string{"0", "65536", "-1", "http", "tcp://10.0.0.1:80", "80; rm -r x"} {
		t.Setenv("GATEWAY_PORT", text)
		port, err := Port("GATEWAY_PORT", 8080)
		if port != 8080 || err == nil || !strings.Contains(err.Error(), "GATEWAY_PORT is ") {
			t.Errorf("%q: %d, %v; want 8080 and an error", text, port, err)
		}
	}
}
