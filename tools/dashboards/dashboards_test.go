package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const committed = "../../observability/grafana/dashboards"

// TestCommittedDashboards fails if a dashboard was changed in only one of the
// two: the program or the file that Grafana reads.
func TestCommittedDashboards(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range fileNames(t, dir) {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the program writes (%v): run make dashboards", name, err)
		}
	}
	if got, want := fileNames(t, committed), fileNames(t, dir); !slices.Equal(got, want) {
		t.Errorf("the files are %q, the program writes %q", got, want)
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	for _, b := range boards() {
		first, err := b.encode()
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			again := boards()[slices.IndexFunc(boards(), func(other board) bool { return other.name == b.name })]
			if second, err := again.encode(); err != nil || !bytes.Equal(first, second) {
				t.Fatalf("%s differs from one time to the next (%v)", b.name, err)
			}
		}
	}
}

// TestLinkedBoardsExist holds that links name boards, with the boards' titles.
func TestLinkedBoardsExist(t *testing.T) {
	for _, l := range linked() {
		if !slices.ContainsFunc(boards(), func(b board) bool { return b.name == l.name && b.title == l.title }) {
			t.Errorf("no dashboard is called %q with the title %q", l.name, l.title)
		}
	}
}

func TestExploreEscapesJSONAndKeepsVariables(t *testing.T) {
	got := explore(`"query":"$(__value.raw)","tags":"a=b"`, "")
	const want = "/explore?schemaVersion=1&panes=%7B%22t%22:%7B%22datasource%22:%22jaeger%22,%22queries%22:" +
		"[%7B%22refId%22:%22A%22,%22datasource%22:%7B%22type%22:%22jaeger%22,%22uid%22:%22jaeger%22%7D," +
		"%22query%22:%22${__value.raw}%22,%22tags%22:%22a%3Db%22%7D]%7D%7D"
	if got != want {
		t.Errorf("explore gives\n%s, want\n%s", got, want)
	}
}

func fileNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
