package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/app"
)

// runFlags calls run with a command line that starts no gateway.
func runFlags(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(args, &out, &errs, nil, nil)
	return code, out.String(), errs.String()
}

// Scripts depend on the names of the flags, on their types and on the usage.
func TestFlags(t *testing.T) {
	code, stdout, stderr := runFlags("-help")
	if code != 0 || stdout != "" {
		t.Errorf("-help: exit code %d, stdout %q; want 0 and the usage on stderr", code, stdout)
	}
	shown := regexp.MustCompile(`(?m)^  (-.*)\n\s+(.*)$`).FindAllStringSubmatch(stderr, -1)
	got := make([]string, 0, len(shown))
	for _, found := range shown {
		got = append(got, found[1]+": "+found[2])
	}
	want := []string{
		"-config string: path to config file",
		"-embedded: run Redis and a backend inside this process",
		"-env: override json config values by ENV vars",
		"-healthcheck: ask the running gateway's /ready, exit 0 or 1",
		"-version: show version",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := runFlags("-version")
	if want := "tyk_proxy " + app.Version + "\n"; code != 0 || stdout != want || stderr != "" {
		t.Errorf("-version: exit code %d, stdout %q, stderr %q; want 0 and %q", code, stdout, stderr, want)
	}
}

func TestInvalidCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-no-such-flag"}, {"-config"}, {"-env=perhaps"}, {"serve"}, {"-version", "now"}} {
		if code, stdout, stderr := runFlags(args...); code != 2 || stderr == "" || stdout != "" {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want 2 and an explanation on stderr", args, code, stdout, stderr)
		}
	}
}
