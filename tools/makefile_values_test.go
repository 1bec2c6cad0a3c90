package tools

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// `make gen` and `make traffic` run a program of the test's own, which `go build`
// is made to leave alone, to see which secret it is handed and that make prints
// none.
func TestMakeFindsTheSecret(t *testing.T) {
	const key = "TYK_PROX_APPLICATION__TOKEN__JWT_SECRET"
	const variable = key + "=from-the-environment"
	tests := []struct {
		name string
		env  []string
		args []string
		file string // the content of .env
		want string
	}{
		{"argument", []string{variable}, []string{"SECRET=from/the+argument=="}, variable, "from/the+argument=="},
		{"environment", []string{variable}, nil, key + "=x", "from-the-environment"},
		{".env", nil, nil, "OTHER=1\n" + key + "=\"from/dot+env==\"\n", "from/dot+env=="},
		{".env, as people write it", nil, nil, key + "=old\n  export " + key + " = from/dot+env== # mine\r\n", "from/dot+env=="},
		{".env, a # in quotes", nil, nil, key + "='from # dot' # env\nMY_" + key + "=x\n#" + key + "=y\n", "from # dot"},
		{".env without it", nil, nil, "OTHER=1\n", "from-config+/json"},
		{"config.json", nil, nil, "", "from-config+/json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for target, program := range map[string]string{"gen": "token_gen", "traffic": "traffic"} {
				dir := t.TempDir()
				write(t, dir+"/config.json", `{"token":{"jwt_secret" : "from-config+/json","algorithm":"HS256"}}`, 0o644)
				if tt.file != "" {
					write(t, dir+"/.env", tt.file, 0o644)
				}
				got, out := handed(t, dir, program, tt.env, append([]string{"ARGS=-limit 5", target}, tt.args...)...)
				if strings.Contains(out, tt.want) {
					t.Errorf("make %s prints the secret:\n%s", target, out)
				}
				if want := []string{"-secret", tt.want, "-limit", "5"}; !slices.Equal(got, want) {
					t.Errorf("%s got %q, want %q", program, got, want)
				}
			}
		})
	}
}

// `make run` runs with the secret that `make gen` signs with, wherever that is.
func TestMakeRunsWithTheSecret(t *testing.T) {
	const key = "TYK_PROX_APPLICATION__TOKEN__JWT_SECRET"
	for name, tt := range map[string]struct {
		env    []string
		file   string
		secret string
		flags  []string
	}{
		"config.json": {nil, "OTHER=1\n", "", nil},
		"environment": {[]string{key + "=a b"}, key + "=x\n", "a b", []string{"-env"}},
		".env":        {nil, key + "=x/y==\n", "x/y==", []string{"-env"}},
		"SECRET":      {[]string{"SECRET=given", key + "=x"}, "", "given", []string{"-env"}},
	} {
		dir := t.TempDir()
		write(t, dir+"/.env", tt.file, 0o600)
		got, out := handed(t, dir, "tyk_proxy", tt.env, "ARGS=-version", "run")
		want := slices.Concat([]string{"-embedded", "-config", "config.json"}, tt.flags, []string{"-version"})
		secret, err := os.ReadFile(filepath.Join(dir, "secret"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || string(secret) != tt.secret {
			t.Errorf("%s: tyk_proxy got %q and the secret %q, want %q and %q", name, got, secret, want, tt.secret)
		}
		if tt.secret != "" && strings.Contains(out, tt.secret) {
			t.Errorf("%s: make run prints the secret:\n%s", name, out)
		}
	}
}

// A gateway that was renamed in compose is asked for by that name.
func TestMakeFindsTheService(t *testing.T) {
	const key = "TYK_PROX_TELEMETRY__SERVICE_NAME"
	for name, tt := range map[string]struct {
		env  []string
		file string
		want []string
	}{
		"default":     {nil, key + "=\n", nil},
		"environment": {[]string{key + "=my gateway"}, key + "=other\n", []string{"-service", "my gateway"}},
		".env":        {nil, key + "='edge'\n", []string{"-service", "edge"}},
	} {
		dir := t.TempDir()
		write(t, dir+"/.env", tt.file, 0o600)
		got, _ := handed(t, dir, "traffic", tt.env, "SECRET=s", "traffic")
		if want := append([]string{"-secret", "s"}, tt.want...); !slices.Equal(got, want) {
			t.Errorf("%s: traffic got %q, want %q", name, got, want)
		}
	}
}

// handed runs make in a directory where the program writes down what it is
// handed, and returns that and what make printed.
func handed(t *testing.T, dir, program string, env []string, args ...string) (got []string, out string) {
	t.Helper()
	write(t, filepath.Join(dir, program), "#!/bin/sh\nprintf '%s\\n' \"$@\" >args\nprintf %s \"$GATEWAY_PORT\" >port\n"+
		"printf %s \"$TYK_PROX_APPLICATION__TOKEN__JWT_SECRET\" >secret\n", 0o755)
	out = runMake(t, env, append([]string{"-C", dir, "-f", absolute(t, repoFile("Makefile")), "GO=true"}, args...)...)
	b, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), out
}
