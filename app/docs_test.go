package app

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// documents are the files that people write; links and names in them must exist.
func documents() []string {
	return []string{
		"README.md", "CONTRIBUTING.md", "SECURITY.md",
		"observability/OPERATING.md", "observability/RUNBOOK.md", "observability/CAPACITY.md",
	}
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestREADMELength checks that the README stays an introduction.
func TestREADMELength(t *testing.T) {
	lines := strings.Split(readDocument(t, "README.md"), "\n")
	if len(lines) > 131 {
		t.Errorf("README.md has %d lines, want at most 130", len(lines)-1)
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > 200 {
			t.Errorf("README.md:%d has %d characters, want at most 200", i+1, n)
		}
	}
}

// TestDocumentLinks checks that files and headings that documents link to exist.
func TestDocumentLinks(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	for _, name := range documents() {
		for _, m := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(readDocument(t, name), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			file := filepath.Join(filepath.Dir(name), target)
			if target == "" {
				file = name
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			found := anchor == ""
			for _, h := range heading.FindAllStringSubmatch(readDocument(t, file), -1) {
				plain := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(h[1]), "")
				found = found || strings.ReplaceAll(plain, " ", "-") == anchor
			}
			if !found {
				t.Errorf("%s links to %s: no such heading", name, m[1])
			}
		}
	}
}

// TestDocumentsNameTests checks that the tests that documents name exist.
func TestDocumentsNameTests(t *testing.T) {
	exists := map[string]bool{}
	for name, text := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
				exists[string(m[1])] = true
			}
		}
	}
	for _, name := range documents() {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(readDocument(t, name), -1) {
			if !exists[m[1]] {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
}
