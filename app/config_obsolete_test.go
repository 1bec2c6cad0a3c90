package app

import (
	"strings"
	"testing"
)

// TestObsoleteKeys: what a former version knew does not stop the start; one
// warning names it, wherever it stands.
func TestObsoleteKeys(t *testing.T) {
	t.Setenv("TYK_PROX_REDIS__POOL_SIZE", "64")
	path := writeConfig(t, `{"redis":{"pool_timeout":"50ms","pool_size":128,"db":3}}`)
	cfg, warnings, err := LoadConfig(path, true)
	if err != nil || cfg.Redis.DB != 3 {
		t.Fatalf("%v, %+v", err, cfg.Redis)
	}
	var said []string
	for _, warning := range warnings {
		if strings.Contains(warning, "no longer has an effect") {
			said = append(said, warning)
		}
	}
	want := "redis.pool_timeout, redis.pool_size, TYK_PROX_REDIS__POOL_SIZE no longer has an effect"
	if len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("%q, want one warning that begins with %q", said, want)
	}
	if _, _, err := LoadConfig(writeConfig(t, `{"redis":{"pool_sise":1}}`), false); err == nil {
		t.Error("a key that no version knew is accepted")
	}
}
