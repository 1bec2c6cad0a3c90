package e2e_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"tyk_proxy/app/config"
)

// The command that -embedded prints works, and SIGINT stops everything.
func TestEmbedded(t *testing.T) {
	redis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(redis.Addr().String(), config.Default().Application.TargetHost)
	redis.Close() // the port is the embedded Redis' now
	p := startWith(t, cfg, nil, "-embedded")
	var line []string
	eventually(t, startWithin, "a curl line is printed", func() bool {
		line = regexp.MustCompile(`(?m)^  (curl .*)\n`).FindStringSubmatch(p.stdout.String())
		return line != nil
	})
	if _, err := exec.LookPath("curl"); err == nil {
		answered, err := exec.CommandContext(context.Background(), "sh", "-c", line[1]).Output()
		if err != nil || !strings.HasPrefix(string(answered), "HTTP/1.1 200 OK\r\n") || !strings.Contains(string(answered), "Hostname: ") {
			t.Errorf("the curl line: %v, and no 200 from whoami", err)
		}
	}
	p.signal(os.Interrupt)
	p.wantExit(0, stopWithin)

	// If the port is in use the program starts nothing else, and its error has
	// the address.
	if redis, err = net.Listen("tcp", cfg.Redis.Addr); err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	end := runOnce(t, nil, "-config", writeConfig(t, cfg), "-embedded")
	if end.code != 1 || end.stdout != "" || !strings.Contains(end.stderr, cfg.Redis.Addr+" is already in use") {
		t.Errorf("with the port of Redis in use: exit code %d, stderr %q; want 1 and the address", end.code, end.stderr)
	}
}
