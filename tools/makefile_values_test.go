package tools

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// SECRET reaches the programs as the gateway's own variable, whatever it is made
// of, and make does not print it.
func TestMakeHandsOverTheSecret(t *testing.T) {
	const variable = "TYK_PROX_APPLICATION__TOKEN__JWT_SECRET"
	for name, tt := range map[string]struct {
		env, args []string
		want      string
	}{
		"nothing":     {nil, nil, ""},
		"environment": {[]string{variable + "=a b"}, nil, "a b"},
		"SECRET":      {[]string{variable + "=x", "SECRET=from/the+environment=="}, nil, "from/the+environment=="},
		"argument":    {[]string{variable + "=x", "SECRET=y"}, []string{"SECRET=from/the+argument=="}, "from/the+argument=="},
		"odd":         {[]string{"SECRET=a;b:c#d$e$$(f) ,g'h\"i="}, nil, "a;b:c#d$e$$(f) ,g'h\"i="},
	} {
		for target, program := range map[string]string{"gen": "token_gen", "traffic": "traffic", "run": "tyk_proxy"} {
			got := handed(t, t.TempDir(), program, tt.env, append([]string{target}, tt.args...)...)
			if got.secret != tt.want {
				t.Errorf("%s: %s got the secret %q, want %q", name, program, got.secret, tt.want)
			}
			if tt.want != "" && strings.Contains(got.printed, tt.want) {
				t.Errorf("%s: make %s prints the secret:\n%s", name, target, got.printed)
			}
		}
	}
}

// The recipes pass flags and the name of the configuration, nothing else.
func TestMakePassesFlags(t *testing.T) {
	for target, want := range map[string]passed{
		"gen":     {program: "token_gen", args: []string{"-limit", "5"}, config: "other.json"},
		"traffic": {program: "traffic", args: []string{"-limit", "5"}, config: "other.json"},
		"run":     {program: "tyk_proxy", args: []string{"-embedded", "-env", "-config", "other.json", "-limit", "5"}},
	} {
		got := handed(t, t.TempDir(), want.program, nil, "CONFIG=other.json", "ARGS=-limit 5", target)
		if !slices.Equal(got.args, want.args) || got.config != want.config {
			t.Errorf("make %s: %s got %q and the configuration %q, want %q and %q",
				target, want.program, got.args, got.config, want.args, want.config)
		}
	}
}

// passed is what make passed to a program, and what it printed.
type passed struct {
	program                 string
	args                    []string
	secret, config, printed string
}

// handed runs make in a directory where the program, which `go build` is made to
// leave alone, writes down what it is passed.
func handed(t *testing.T, dir, program string, env []string, args ...string) passed {
	t.Helper()
	write(t, filepath.Join(dir, program), "#!/bin/sh\nprintf '%s\\n' \"$@\" >args\nprintf %s \"$GATEWAY_CONFIG\" >config\n"+
		"printf %s \"$TYK_PROX_APPLICATION__TOKEN__JWT_SECRET\" >secret\n")
	out := runMake(t, env, append([]string{"-C", dir, "-f", absolute(t, repoFile("Makefile")), "GO=true"}, args...)...)
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return passed{program, strings.Split(strings.TrimSuffix(read("args"), "\n"), "\n"), read("secret"), read("config"), out}
}
