package config

import (
	"slices"
	"strings"
	"testing"
)

// TestObsoleteKeys: what a former version knew does not stop the start; a
// warning names it, in the file and in the environment.
func TestObsoleteKeys(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_REDIS__POOL_SIZE", "64")
	path := writeConfig(t, `{"redis":{"pool_timeout":"50ms","pool_size":128,"db":3}}`)
	cfg, warnings, err := Load(path, true)
	if err != nil || cfg.Redis.DB != 3 {
		t.Fatalf("%v, %+v", err, cfg.Redis)
	}
	var said []string
	for _, warning := range warnings {
		if strings.Contains(warning, "no longer has an effect") {
			said = append(said, warning)
		}
	}
	want := []string{"redis.pool_timeout", "redis.pool_size", "TYK_PROX_REDIS__POOL_SIZE"}
	if !slices.EqualFunc(said, want, strings.HasPrefix) {
		t.Errorf("%q, want warnings that begin with %q", said, want)
	}
	if _, _, err := Load(writeConfig(t, `{"redis":{"pool_sise":1}}`), false); err == nil {
		t.Error("a key that no version knew is accepted")
	}
}
