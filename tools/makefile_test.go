package tools

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/modfile"
)

var (
	targetLine = regexp.MustCompile(`(?m)^([a-z0-9-]+):[^=\n]*## \S`)
	makeCall   = regexp.MustCompile(`\bmake ([a-z0-9-]+)`)
)

// makeTargets returns the targets that `make help` lists.
func makeTargets(t *testing.T) []string {
	t.Helper()
	lines := targetLine.FindAllStringSubmatch(readRepoFile(t, "Makefile"), -1)
	names := make([]string, 0, len(lines))
	for _, m := range lines {
		names = append(names, m[1])
	}
	return names
}

func TestMakefileHasEveryTarget(t *testing.T) {
	have := makeTargets(t)
	for _, want := range []string{
		"help", "build", "gen", "secret", "run", "traffic", "check", "test", "race", "lint", "fuzz",
		"bench", "bench-e2e", "vuln", "jaeger", "dashboards", "up", "up-b", "down", "logs", "clean",
	} {
		if !slices.Contains(have, want) {
			t.Errorf("make %s is missing, or has no ## comment", want)
		}
	}
}

// runMake returns what make prints, without the environment's own secrets.
func runMake(t *testing.T, env []string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	cmd := exec.CommandContext(t.Context(), "make", args...)
	cmd.Dir = repoFile(".")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestMakeHelpIsTheDefault(t *testing.T) {
	out := runMake(t, nil)
	for _, target := range makeTargets(t) {
		if !strings.Contains(out, "  "+target+" ") {
			t.Errorf("make without a target does not list %s", target)
		}
	}
}

func TestMakeSecret(t *testing.T) {
	a, b := runMake(t, nil, "-s", "secret"), runMake(t, nil, "-s", "secret")
	if !regexp.MustCompile(`^[A-Za-z0-9+/]{64}\n$`).MatchString(a) || a == b {
		t.Errorf("make secret prints %q, then %q; want two of 64 characters", a, b)
	}
}

var productBuild = regexp.MustCompile(`go build [^;\n]*\./cmd/[\w-]+`)

// What is shipped names no directory of the machine that built it, needs no C
// library, and says its version: in make and in the image alike.
func TestProductBuilds(t *testing.T) {
	fromMake := runMake(t, nil, "-n", "build", "gen", "traffic")
	for name, text := range map[string]string{"make": fromMake, "Dockerfile": readRepoFile(t, "Dockerfile")} {
		builds := productBuild.FindAllString(text, -1)
		if len(builds) < 2 {
			t.Errorf("%s: %d builds found", name, len(builds))
		}
		for _, line := range builds {
			if !strings.Contains(line, " -trimpath ") || !strings.Contains(line, " -ldflags=") {
				t.Errorf("%s: %s lacks -trimpath or -ldflags", name, line)
			}
		}
	}
	builds, static := len(productBuild.FindAllString(fromMake, -1)), strings.Count(fromMake, "CGO_ENABLED=0 go build")
	if builds != static {
		t.Errorf("make: %d builds, of which %d with CGO_ENABLED=0", builds, static)
	}
}

// `make jaeger` builds once, by a `go build` of the test's own, under the name
// that the end-to-end tests look for.
func TestMakeJaegerBuildsOnce(t *testing.T) {
	mod, err := modfile.Parse("go.mod", []byte(readRepoFile(t, "tools/jaeger/go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	version := ""
	for _, r := range mod.Require {
		if r.Mod.Path == "github.com/jaegertracing/jaeger" {
			version = r.Mod.Version
		}
	}
	dir := t.TempDir()
	write(t, dir+"/go", "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\necho built >>\"$2\" && chmod +x \"$2\"\n")
	for range 2 {
		runMake(t, []string{"XDG_CACHE_HOME=" + dir}, "GO="+dir+"/go", "jaeger")
	}
	files, err := os.ReadDir(dir + "/tyk_proxy")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Name() != "jaeger2-"+version {
		t.Fatalf("the cache has %v, want jaeger2-%s", files, version)
	}
	if text, err := os.ReadFile(dir + "/tyk_proxy/jaeger2-" + version); string(text) != "built\n" {
		t.Errorf("the file says %q, %v; want that it was built once", text, err)
	}
}

// The workflow runs the script that a developer runs, so that a check added to
// it is a check of CI; what else it does goes through make.
func TestWorkflowRunsTheScript(t *testing.T) {
	text := readRepoFile(t, ".github/workflows/ci.yml")
	type job struct {
		Env   map[string]string
		Steps []struct{ Run string }
	}
	var workflow struct{ Jobs map[string]job }
	if err := yaml.NewDecoder(bytes.NewBufferString(text)).Decode(&workflow); err != nil {
		t.Fatal(err)
	}
	check := workflow.Jobs["check"]
	var commands []string
	for _, step := range check.Steps {
		if step.Run != "" {
			commands = append(commands, step.Run)
		}
	}
	if !slices.Equal(commands, []string{".ci/run"}) {
		t.Errorf("the job check runs %q, want .ci/run alone", commands)
	}
	// Where the network is there, "out of reach" is a failure.
	if check.Env["VULN_REQUIRE_DB"] == "" {
		t.Error("the job check may do without the database of vulnerabilities")
	}
	for _, target := range append(calls(text), calls(readRepoFile(t, ".ci/run"))...) {
		if !slices.Contains(makeTargets(t), target) {
			t.Errorf("make %s is called, which the Makefile lacks", target)
		}
	}
}

func calls(script string) []string {
	var names []string
	for line := range strings.Lines(script) {
		code, _, _ := strings.Cut(line, "#")
		for _, m := range makeCall.FindAllStringSubmatch(code, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// An action is pinned to a full version, so that CI does not change by itself.
func TestWorkflowActionsArePinned(t *testing.T) {
	uses := regexp.MustCompile(`uses: (\S+)`).FindAllStringSubmatch(readRepoFile(t, ".github/workflows/ci.yml"), -1)
	if len(uses) == 0 {
		t.Fatal("ci.yml uses no action")
	}
	for _, u := range uses {
		if !regexp.MustCompile(`@v\d+\.\d+\.\d+$`).MatchString(u[1]) {
			t.Errorf("%s is not pinned to a version", u[1])
		}
	}
}
