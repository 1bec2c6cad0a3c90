// Command dashboards writes the gateway's Grafana dashboards as JSON into the
// directory that it is given: `make dashboards`.
//
// Each dashboard has a file: overview.go, rate_limit.go, pipeline.go, runtime.go
// and request.go. They are made of the panels in panels.go, the queries in
// queries.go and the links in links.go; board.go puts them together.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards directory")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// boards returns all dashboards, in the order of the links between them.
func boards() []board {
	return []board{overview(), rateLimit(), pipeline(), runtime(), request()}
}

// write writes each dashboard into a file of its name in dir.
func write(dir string) error {
	for _, b := range boards() {
		content, err := b.encode()
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		file := filepath.Join(dir, b.name+".json")
		//nolint:gosec // Grafana's user in the container must be able to read the file.
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
