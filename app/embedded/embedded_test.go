package embedded

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tyk_proxy/app/config"
)

func TestStartRefusesTLS(t *testing.T) {
	cfg := config.Default()
	cfg.Redis.Addr, cfg.Redis.TLS = "127.0.0.1:0", true
	if _, err := Start(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), "redis.tls: ") {
		t.Errorf("Start: error %v, want one that names redis.tls", err)
	}
}

func TestStartReplacesRemoteRedis(t *testing.T) {
	cfg := config.Default()
	e, err := Start(t.Context(), cfg)
	if err != nil {
		// Another Redis may use the port. The error then names the address.
		if !strings.Contains(err.Error(), defaultAddr+" is already in use") {
			t.Error(err)
		}
		return
	}
	defer e.Close()
	if e.redis.Addr() != defaultAddr || e.Config().Redis.Addr != defaultAddr {
		t.Errorf("Redis listens on %s, redis.addr is %s; want %s for both", e.redis.Addr(), e.Config().Redis.Addr, defaultAddr)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:6379": true, "127.1.2.3:1": true, "[::1]:6379": true, "localhost:6379": true,
		"tyk-redis:6379": false, "10.0.0.1:6379": false, "0.0.0.0:6379": false, "localhost": false,
	} {
		if got := loopback(addr); got != want {
			t.Errorf("loopback(%s) = %v, want %v", addr, got, want)
		}
	}
}

func TestWhoami(t *testing.T) {
	request := httptest.NewRequest(http.MethodPost, "/a%20b?c=d", strings.NewReader("body"))
	request.Header.Set("X-Mine", "yes")
	recorder := httptest.NewRecorder()
	Whoami(recorder, request)
	for _, part := range []string{
		"Hostname: ", "RemoteAddr: 192.0.2.1:1234\n", "POST /a%20b?c=d HTTP/1.1\r\n", "Host: example.com\r\n", "X-Mine: yes\r\n",
	} {
		if !strings.Contains(recorder.Body.String(), part) {
			t.Errorf("the answer lacks %q:\n%s", part, recorder.Body)
		}
	}
	if kind := recorder.Header().Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("Content-Type %q, want text/plain", kind)
	}
}
