package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites CONFIG.md, config.json and .env.example instead of comparing
// them: go test ./app/config -update
var update = flag.Bool("update", false, "rewrite the files generated from the configuration")

const (
	tableFile = "CONFIG.md"
	jsonFile  = "../../config.json"
	envFile   = "../../.env.example"
)

func TestConfigTable(t *testing.T) {
	compareOrUpdate(t, tableFile, readText(t, tableFile), configTable())
}

func TestConfigJSON(t *testing.T) {
	text, err := json.MarshalIndent(Default(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareOrUpdate(t, jsonFile, readText(t, jsonFile), string(text)+"\n")

	got, _, err := Load(jsonFile, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
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
	got, _, err := Load("", true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
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
	got, _, err := Load(writeConfig(t, published), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("the published file is not the defaults (-default +published):\n%s", diff)
	}
}

func TestDescriptions(t *testing.T) {
	for _, k := range defaultKeys() {
		if !strings.HasSuffix(k.description, ".") || strings.Contains(k.description, "|") {
			t.Errorf("%s: the description %q is no sentence fit for a table", k.path, k.description)
		}
	}
}

func defaultKeys() []key {
	cfg := Default()
	return keysOf(&cfg)
}

func TestSecretDoesNotFormat(t *testing.T) {
	cfg := Default()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, cfg); strings.Contains(text, DemoSecret) {
			t.Errorf("%s of a Config shows the secret", verb)
		}
	}
}

// configTable is CONFIG.md.
func configTable() string {
	var b strings.Builder
	b.WriteString(`# Configuration

Generated from the fields of Config by ` + "`go test ./app/config -update`" + `.

Keys are those of the JSON file that ` + "`-config`" + ` names; a dot stands for a section.
With ` + "`-env`" + `, variables override the file. The variable of a key is ` + "`TYK_PROX_`" + ` and
the key in capitals, each dot written as two underscores: ` + "`redis.addr`" + ` is
` + "`TYK_PROX_REDIS__ADDR`" + `. A list is comma separated there.

| Key | Default | Meaning |
|---|---|---|
`)
	for _, k := range defaultKeys() {
		value := "`" + k.text() + "`"
		switch {
		case k.text() == "":
			value = "(empty)"
		case k.isSecret():
			value = "(the demo secret)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.path, value, k.description)
	}
	return b.String()
}

// envExample is .env.example.
func envExample() string {
	var b strings.Builder
	b.WriteString("# Every variable with its default. They count when the gateway runs with -env.\n")
	section := ""
	for _, k := range defaultKeys() {
		if top, _, _ := strings.Cut(k.path, "."); top != section {
			section = top
			fmt.Fprintf(&b, "\n# --- %s ---\n", section)
		}
		fmt.Fprintf(&b, "# %s\n%s=%s\n", k.description, k.env, k.text())
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
	t.Errorf("%s is out of date; run: go test ./app/config -update\n(-file +generated)\n%s",
		path, cmp.Diff(strings.Split(got, "\n"), strings.Split(want, "\n")))
}
