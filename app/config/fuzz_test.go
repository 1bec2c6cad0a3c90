package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzConfig holds that no file makes the loader panic, that a file which loads
// says the same after it is written and read again, and that no refusal repeats a
// secret.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"application":{"port":0},"log":{"colored":false}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := loadBytes(data)
		if err == nil {
			checkRoundTrip(t, cfg)
		}
		checkSecretsHidden(t, data)
	})
}

// loadBytes stays away from the files that the data may name.
func loadBytes(data []byte) (Config, error) {
	l := newLoader(false)
	l.readJSON(data)
	cfg, _, err := l.judge(false)
	return cfg, err
}

func checkRoundTrip(t *testing.T, cfg Config) {
	t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadBytes(data)
	if err != nil {
		t.Fatalf("a loaded configuration is refused once written: %v", err)
	}
	if diff := cmp.Diff(cfg, again); diff != "" {
		t.Errorf("(-first +again):\n%s", diff)
	}
}

// checkSecretsHidden plants a secret in the places where an operator may have put
// one, rightly or by mistake, and spoils the file so that it is refused.
func checkSecretsHidden(t *testing.T, data []byte) {
	t.Helper()
	const planted = "kX9-planted-Zq7"
	var root map[string]any
	if json.Unmarshal(data, &root) != nil || root == nil {
		return
	}
	for _, value := range []any{planted, []any{planted}, map[string]any{"value": planted}} {
		token := sectionOf(sectionOf(root, "application"), "token")
		token["jwt_secret"] = value
		token["jwt_secrt"] = value
		sectionOf(root, "redis")["password"] = value
		sectionOf(root, "redis")["addr"] = "default:" + planted + "@redis:6379"
		sectionOf(root, "telemetry")["key_id_secret"] = value
		sectionOf(root, "application")["target_host"] = "http://user:" + planted + "@backend"
		spoilt, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, tail := range []string{"", "}"} {
			_, err := loadBytes(append(spoilt, tail...))
			if err == nil {
				t.Fatal("a spoilt file is accepted")
			}
			if strings.Contains(err.Error(), planted) {
				t.Error("a refusal shows a planted secret")
			}
		}
	}
}

func sectionOf(parent map[string]any, name string) map[string]any {
	section, ok := parent[name].(map[string]any)
	if !ok {
		section = map[string]any{}
		parent[name] = section
	}
	return section
}
