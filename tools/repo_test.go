// Package tools holds nothing that ships. Its module pins the tools that the
// Makefile runs, and its tests read the repository's packaging: files that no
// compiler checks, on machines that may have no container engine.
package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

func repoFile(name string) string { return filepath.Join("..", name) }

func readRepoFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(repoFile(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var versionTag = regexp.MustCompile(`:v?\d+\.\d[\w.-]*$|@sha256:[0-9a-f]{64}$`)

// pinned reports whether an image reference names at least major and minor.
func pinned(image string) bool { return versionTag.MatchString(image) }

func target(p types.ServicePortConfig) string { return strconv.FormatUint(uint64(p.Target), 10) }

// write writes a program.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
