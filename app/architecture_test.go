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

// The tests of this file check rules for the whole repository: the dependencies
// of packages, the length of files and the names at the top level.

const (
	module   = "tyk_proxy"
	root     = ".."
	maxLines = 300
)

// listed has the fields of `go list -json` that the tests use.
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
	// go test does not notice what go list reads. Reading the files here makes it
	// run this test again after a change.
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

// These packages may import the standard library and the listed packages only.
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
				continue // go list does not list "C" and "unsafe"
			}
			// A package of this module is allowed without its subpackages, a library with them.
			if ours(imported) && !slices.Contains(allowed, imported) || !ours(imported) && !below(imported, allowed...) {
				t.Errorf("%s imports %s; it may import the standard library and %q", importPath, imported, allowed)
			}
		}
	}
}

// Indirect dependencies count too.
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

// Only one package may import each of these libraries.
func TestSingleImporter(t *testing.T) {
	for library, importer := range map[string]string{
		"go.opentelemetry.io/otel/sdk":       "tyk_proxy/telemetry",
		"go.opentelemetry.io/otel/exporters": "tyk_proxy/telemetry",
		"github.com/prometheus":              "tyk_proxy/telemetry",
		"github.com/ilyakaznacheev/cleanenv": "tyk_proxy/app/config",
		"github.com/joho/godotenv":           "tyk_proxy/app/config/dotenv",
		"github.com/alicebob/miniredis":      "tyk_proxy/app/embedded",
		"tyk_proxy/app":                      "tyk_proxy/cmd/tyk_proxy",
	} {
		found := false
		for _, p := range goList(t) {
			for _, imported := range p.Imports {
				// A package of this module is meant without its subpackages.
				if !ours(p.ImportPath) || ours(library) && imported != library || !below(imported, library) {
					continue
				}
				if below(p.ImportPath, importer) {
					found = true
				} else {
					t.Errorf("%s imports %s, which only %s may import", p.ImportPath, imported, importer)
				}
			}
		}
		if !found {
			t.Errorf("%s does not import %s: remove the rule", importer, library)
		}
	}
}

// Only app/config and telemetry, which reads OTEL_*, may read the environment.
func TestReadersOfTheEnvironment(t *testing.T) {
	for name, text := range goFiles(t) {
		dir := filepath.ToSlash(filepath.Dir(name))
		reads := bytes.Contains(text, []byte("os.Getenv(")) || bytes.Contains(text, []byte("os.LookupEnv(")) ||
			bytes.Contains(text, []byte("os.Environ("))
		if reads && !strings.HasSuffix(name, "_test.go") && !below(dir, root+"/app/config") && !below(dir, root+"/telemetry") &&
			!strings.HasPrefix(dir, root+"/tools") && !strings.HasSuffix(dir, "test") {
			t.Errorf("%s reads the environment, which only app/config may read", name)
		}
	}
}

// A package's name must describe what it provides.
func TestPackageNames(t *testing.T) {
	vague := []string{"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "shared", "base"}
	for _, p := range goList(t) {
		if !ours(p.ImportPath) {
			continue
		}
		if slices.Contains(vague, p.Name) || slices.Contains(vague, path.Base(p.ImportPath)) {
			t.Errorf("the name of package %s describes nothing", p.ImportPath)
		}
		if p.Name != "main" && p.Name != path.Base(p.ImportPath) {
			t.Errorf("package %s has the name %s, want the name of its directory", p.ImportPath, p.Name)
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

func TestTopLevel(t *testing.T) {
	allowed := []string{
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
		if !slices.Contains(allowed, entry.Name()) && !slices.ContainsFunc(ignored, func(pattern string) bool {
			matched, err := filepath.Match(pattern, entry.Name())
			return err == nil && matched
		}) {
			t.Errorf("%s is at the top level; the allowed names are %q", entry.Name(), allowed)
		}
	}
}

// ignoredAtTop returns the patterns of .gitignore.
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
