package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The house rules that no compiler checks: who may depend on whom, and what a
// file, a package and the top of the tree may look like.

const (
	module   = "tyk_proxy"
	root     = ".."
	maxLines = 300
)

// listed is what these tests read of `go list -json`.
type listed struct {
	ImportPath string
	Name       string
	Standard   bool
	Imports    []string
	Deps       []string
}

// goList returns the packages of this module, without their tests, and
// everything that they depend on, by import path.
func goList(t *testing.T) map[string]listed {
	t.Helper()
	// What go list reads, go test does not see: reading the files here makes a
	// changed import run this test again.
	goFiles(t)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Name,Standard,Imports,Deps", "./...")
	cmd.Dir, cmd.Stderr = root, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := map[string]listed{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

func ours(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// below reports whether a package is one of the given ones or below them.
func below(importPath string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		return importPath == parent || strings.HasPrefix(importPath, parent+"/")
	})
}

// The packages at the bottom import what is listed here and the standard
// library; an addition is a decision, not an accident.
func TestImports(t *testing.T) {
	packages := goList(t)
	for importPath, allowed := range map[string][]string{
		"tyk_proxy/middleware": {"github.com/golang-jwt/jwt/v5", "github.com/hashicorp/golang-lru/v2"},
		"tyk_proxy/middleware/redisstore": {
			"tyk_proxy/middleware", "github.com/redis/go-redis/v9",
			"github.com/hashicorp/golang-lru/v2", "github.com/hashicorp/golang-lru/v2/simplelru",
		},
		"tyk_proxy/cmd/tyk_proxy": {"tyk_proxy/app"},
		"tyk_proxy/app/mint":      {"tyk_proxy/middleware", "github.com/redis/go-redis/v9", "github.com/golang-jwt/jwt/v5"},
		"tyk_proxy/cmd/token-gen": {
			"tyk_proxy/app/config", "tyk_proxy/app/config/dotenv", "tyk_proxy/app/mint", "tyk_proxy/middleware/redisstore",
			"github.com/redis/go-redis/v9",
		},
		"tyk_proxy/app/config": {"tyk_proxy/middleware", "github.com/ilyakaznacheev/cleanenv"},
	} {
		p, ok := packages[importPath]
		if !ok {
			t.Errorf("there is no package %s", importPath)
		}
		for _, imported := range p.Imports {
			if dep, known := packages[imported]; !known || dep.Standard {
				continue // "C" and "unsafe" are not listed; both are the toolchain's
			}
			// A package of ours is meant alone, a library with what is below it.
			if ours(imported) && !slices.Contains(allowed, imported) || !ours(imported) && !below(imported, allowed...) {
				t.Errorf("%s imports %s; it may import the standard library and %q", importPath, imported, allowed)
			}
		}
	}
}

// Nothing forbidden comes in through somebody else either.
func TestDependencies(t *testing.T) {
	packages := goList(t)
	for importPath, forbidden := range map[string][]string{
		"tyk_proxy/middleware": {
			"go.opentelemetry.io", "github.com/sirupsen", "github.com/redis", "github.com/ilyakaznacheev", "github.com/prometheus",
		},
		"tyk_proxy/middleware/redisstore": {"go.opentelemetry.io", "github.com/sirupsen", "github.com/ilyakaznacheev"},
		"tyk_proxy/telemetry":             {"tyk_proxy/app", "tyk_proxy/middleware/redisstore", "github.com/ilyakaznacheev"},
		"tyk_proxy/app":                   {"tyk_proxy/cmd", "tyk_proxy/middleware/storetest", "testing"},
		"tyk_proxy/cmd/tyk_proxy":         {"tyk_proxy/middleware/storetest", "testing"},
		"tyk_proxy/cmd/token-gen":         {"tyk_proxy/telemetry", "go.opentelemetry.io", "testing"},
	} {
		for _, dep := range packages[importPath].Deps {
			if below(dep, forbidden...) {
				t.Errorf("%s depends on %s", importPath, dep)
			}
		}
	}
}

// Some libraries have one door.
func TestOneDoor(t *testing.T) {
	for library, door := range map[string]string{
		"go.opentelemetry.io/otel/sdk":       "tyk_proxy/telemetry",
		"go.opentelemetry.io/otel/exporters": "tyk_proxy/telemetry",
		"github.com/prometheus":              "tyk_proxy/telemetry",
		"github.com/ilyakaznacheev/cleanenv": "tyk_proxy/app/config",
		"github.com/joho/godotenv":           "tyk_proxy/app/config/dotenv",
		"github.com/alicebob/miniredis":      "tyk_proxy/app",
		"tyk_proxy/app":                      "tyk_proxy/cmd/tyk_proxy",
	} {
		open := false
		for _, p := range goList(t) {
			for _, imported := range p.Imports {
				// A package of ours is meant alone: commands may import what is below app.
				if !ours(p.ImportPath) || ours(library) && imported != library || !below(imported, library) {
					continue
				}
				if inside := below(p.ImportPath, door); inside {
					open = true
				} else {
					t.Errorf("%s imports %s, which only %s may", p.ImportPath, imported, door)
				}
			}
		}
		if !open {
			t.Errorf("%s does not import %s any more: the rule guards nothing", door, library)
		}
	}
}

// Only app/config reads the environment. The OpenTelemetry SDK reads OTEL_* by
// itself, and telemetry asks which of them are set.
func TestEnvironmentHasOneReader(t *testing.T) {
	for name, text := range goFiles(t) {
		dir := filepath.ToSlash(filepath.Dir(name))
		reads := bytes.Contains(text, []byte("os.Getenv(")) || bytes.Contains(text, []byte("os.LookupEnv(")) ||
			bytes.Contains(text, []byte("os.Environ("))
		if reads && !strings.HasSuffix(name, "_test.go") && !below(dir, root+"/app/config") && !below(dir, root+"/telemetry") &&
			!strings.HasPrefix(dir, root+"/tools") && !strings.HasSuffix(dir, "test") {
			t.Errorf("%s reads the environment, which only app/config may", name)
		}
	}
}

// A package is named for what it offers.
func TestPackageNames(t *testing.T) {
	empty := []string{"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "shared", "base"}
	for _, p := range goList(t) {
		if !ours(p.ImportPath) {
			continue
		}
		if slices.Contains(empty, p.Name) || slices.Contains(empty, path.Base(p.ImportPath)) {
			t.Errorf("package %s is named for nothing", p.ImportPath)
		}
		if p.Name != "main" && p.Name != path.Base(p.ImportPath) {
			t.Errorf("package %s is named %s, not after its directory", p.ImportPath, p.Name)
		}
	}
}

func TestFileLength(t *testing.T) {
	for name, text := range goFiles(t) {
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, want at most %d", name, n, maxLines)
		}
	}
}

// goFiles reads every Go file of the repository, tests included.
func goFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case !entry.Type().IsRegular() || filepath.Ext(name) != ".go":
			return nil
		}
		text, err := os.ReadFile(name)
		files[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What a visitor sees first is short and stays so.
func TestTopLevel(t *testing.T) {
	agreed := []string{
		"cmd", "app", "middleware", "telemetry", "observability", "tools",
		"config.json", ".env.example", "Dockerfile", "docker-compose.yml", "Makefile", "go.mod", "go.sum",
		"README.md", "CONTRIBUTING.md", "SECURITY.md",
		".ci", ".golangci.yml", ".github", "CHANGELOG.md", "LICENSE", ".dockerignore", ".gitignore", ".git",
	}
	ignored := ignoredAtTop(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(agreed, entry.Name()) && !slices.ContainsFunc(ignored, func(pattern string) bool {
			matched, err := filepath.Match(pattern, entry.Name())
			return err == nil && matched
		}) {
			t.Errorf("%s stands at the top; the agreed names are %q", entry.Name(), agreed)
		}
	}
}

// ignoredAtTop returns .gitignore's patterns of names: what is built or kept
// locally is nobody's first sight.
func ignoredAtTop(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		if line = strings.Trim(strings.TrimSpace(line), "/"); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return patterns
}
