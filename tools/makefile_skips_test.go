package tools

import (
	"os/exec"
	"strings"
	"testing"
)

// `make test` runs the tests of both modules. What was skipped, and why, stands
// after all else.
func TestMakeTestNamesSkippedTests(t *testing.T) {
	command, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS", "GONOSUMDB"}
	env := make([]string, 0, len(names))
	for _, name := range names {
		value, err := exec.CommandContext(t.Context(), command, "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	// It stands for `go test`, and hands everything else to the real one.
	dir := t.TempDir()
	write(t, dir+"/go", `#!/bin/sh
case "$1 $3" in
"test "*) module=product ;;
"-C test") module=tools ;;
*) exec `+command+` "$@" ;;
esac
event() { printf '{"Action":"%s","Package":"%s","Test":"%s","Output":"%s"}\n' "$@"; }
event run $module TestOne ''
event output $module TestOne '    one_test.go:1: no-server is not installed\n'
event skip $module TestOne ''
event run $module TestTwo ''
event pass $module TestTwo ''
printf '{"Action":"pass","Package":"%s"}\n' $module
`)
	out := runMake(t, env, "GO="+dir+"/go", "test")
	_, end, found := strings.Cut(out, "=== Skipped")
	if !found || strings.Count(end, "no-server is not installed") != 2 ||
		!strings.Contains(end, "SKIP: product TestOne") || !strings.Contains(end, "SKIP: tools TestOne") ||
		strings.Contains(end, "TestTwo") {
		t.Errorf("make test prints\n%s", out)
	}
}
