package tools

import (
	"cmp"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

type minimum struct{ module, version, reason string }

func minimums(t *testing.T) []minimum {
	t.Helper()
	var found []minimum
	for line := range strings.Lines(readRepoFile(t, ".ci/min-versions")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			t.Fatalf(".ci/min-versions: %q: want module, minimum, reason", line)
		}
		found = append(found, minimum{f[0], f[1], strings.Join(f[2:], " ")})
	}
	return found
}

// go.mod lists every module of the build, indirect ones too, so that reading it
// is enough. Its go line says only which language it needs: what has the fixes
// is the Go in use.
func TestMinimumVersions(t *testing.T) {
	mod, err := modfile.Parse("go.mod", []byte(readRepoFile(t, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{
		"go":        plainGo(cmp.Or(os.Getenv("GO_OF_BUILD"), runtime.Version())), // make names it
		"toolchain": plainGo(runtime.Version()),                                   // what compiled this test
	}
	for _, r := range mod.Require {
		have[r.Mod.Path] = r.Mod.Version
	}
	for _, m := range minimums(t) {
		version, required := have[m.module]
		if !required {
			continue
		}
		if !semver.IsValid(canonical(m.version)) {
			t.Errorf(".ci/min-versions: %s: %q is not a version", m.module, m.version)
		}
		if semver.Compare(canonical(version), canonical(m.version)) < 0 {
			t.Errorf("%s %s is older than %s: %s", m.module, version, m.version, m.reason)
			continue
		}
		t.Logf("%s %s (minimum %s)", m.module, version, m.version)
	}
}

// plainGo returns 1.26.8 of go1.26.8, of go1.26.8-vendor and of "go1.26.8 X:experiment".
func plainGo(version string) string {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "go"), " ")
	version, _, _ = strings.Cut(version, "-")
	return version
}

func TestPlainGo(t *testing.T) {
	for _, version := range []string{"go1.26.8", "go1.26.8-vendor", "go1.26.8 X:jsonv2", "go1.26.8-X:jsonv2"} {
		if got := plainGo(version); got != "1.26.8" {
			t.Errorf("%q is read as %q", version, got)
		}
	}
}

// canonical gives the version of Go, which has no v, the form that semver reads.
func canonical(version string) string {
	return "v" + strings.TrimPrefix(version, "v")
}
