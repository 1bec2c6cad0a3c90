package app

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites config.json, .env.example and the README's table in place of
// comparing them: go test ./app -run 'TestREADME|TestConfigJSON|TestEnvExample' -update
var update = flag.Bool("update", false, "rewrite the files generated from the configuration")

const (
	readmeFile = "../README.md"
	jsonFile   = "../config.json"
	envFile    = "../.env.example"

	tableBegin = "<!-- config:begin -->\n"
	tableEnd   = "<!-- config:end -->"
)

func TestREADME(t *testing.T) {
	readme := readText(t, readmeFile)
	before, rest, begun := strings.Cut(readme, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !begun || !ended {
		t.Fatalf("%s lacks the markers %q and %q", readmeFile, tableBegin, tableEnd)
	}
	compareOrUpdate(t, readmeFile, readme, before+tableBegin+configTable()+tableEnd+after)
}

func TestConfigJSON(t *testing.T) {
	text, err := json.MarshalIndent(DefaultConfig(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareOrUpdate(t, jsonFile, readText(t, jsonFile), string(text)+"\n")

	got, _, err := LoadConfig(jsonFile, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), got); diff != "" {
		t.Errorf("config.json does not load as the defaults (-default +file):\n%s", diff)
	}
}

func TestEnvExample(t *testing.T) {
	text := readText(t, envFile)
	compareOrUpdate(t, envFile, text, envExample())

	clearEnv(t)
	for line := range strings.Lines(envExample()) {
		if name, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), "="); found && line[0] != '#' {
			t.Setenv(name, value)
		}
	}
	got, _, err := LoadConfig("", true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), got); diff != "" {
		t.Errorf(".env.example does not load as the defaults (-default +file):\n%s", diff)
	}
}

// The keys and variables users have today, with their values, as first published.
func TestPublishedKeys(t *testing.T) {
	const published = `{"application":{"target_host":"http://backend-whoami:80","port":8080,
		"token":{"jwt_secret":"II+NZDtODCTp0eAGX0/3HNdaExOf+M1uesFHdN+IFcTD774aaeJrJIOMS4aYhi+l","algorithm":"HS256"}},
		"server_timeouts":{"readHeaderTimeout":"5s","readTimeout":"30s","writeTimeout":"30s","idleTimeout":"60s"},
		"redis":{"addr":"tyk-redis:6379"},
		"log":{"level":"Debug","format":"console","colored":true},
		"monitoring":{"ip":"0.0.0.0","scheme":"http","port":9090}}`
	got, _, err := LoadConfig(writeConfig(t, published), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), got); diff != "" {
		t.Errorf("the published file is not the defaults (-default +published):\n%s", diff)
	}
}

func TestLeaves(t *testing.T) {
	for _, leaf := range ConfigLeaves() {
		want := "TYK_PROX_" + strings.ToUpper(strings.ReplaceAll(leaf.Path, ".", "__"))
		if leaf.Env != want {
			t.Errorf("%s: variable %s, want %s", leaf.Path, leaf.Env, want)
		}
		if !strings.HasSuffix(leaf.Description, ".") || strings.Contains(leaf.Description, "|") {
			t.Errorf("%s: the description %q is no sentence fit for a table", leaf.Path, leaf.Description)
		}
		if isSecret := leaf.typ == reflect.TypeFor[Secret](); isSecret != leaf.Secret {
			t.Errorf("%s: secret tag %v, Secret type %v", leaf.Path, leaf.Secret, isSecret)
		}
	}
}

func TestSecretDoesNotFormat(t *testing.T) {
	cfg := DefaultConfig()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, cfg); strings.Contains(text, DemoSecret) {
			t.Errorf("%s of a Config shows the secret", verb)
		}
	}
}

// configTable is the README's table.
func configTable() string {
	var b strings.Builder
	b.WriteString("| Key | Variable | Default | Meaning |\n|---|---|---|---|\n")
	for _, leaf := range ConfigLeaves() {
		value := "`" + leaf.Default + "`"
		switch {
		case leaf.Default == "":
			value = "(empty)"
		case leaf.Secret:
			value = "(the demo secret)"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", leaf.Path, leaf.Env, value, leaf.Description)
	}
	return b.String()
}

// envExample is .env.example.
func envExample() string {
	var b strings.Builder
	b.WriteString("# Every variable with its default. They count when the gateway runs with -env.\n")
	section := ""
	for _, leaf := range ConfigLeaves() {
		if top, _, _ := strings.Cut(leaf.Path, "."); top != section {
			section = top
			fmt.Fprintf(&b, "\n# --- %s ---\n", section)
		}
		fmt.Fprintf(&b, "# %s\n%s=%s\n", leaf.Description, leaf.Env, leaf.Default)
	}
	return b.String()
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	return string(data)
}

func compareOrUpdate(t *testing.T, path, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is out of date; run: go test ./app -run %s -update\n(-file +generated)\n%s",
		path, t.Name(), cmp.Diff(strings.Split(got, "\n"), strings.Split(want, "\n")))
}
