package e2e_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// startInto starts the gateway with stdout and stderr in a FIFO, and waits until it
// serves. It returns the end of the FIFO from which nothing is read.
func startInto(t *testing.T, cfg config.Config) (p *program, reader *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close() // the process has its own
	addr := storetest.FreeAddr(t)
	if cfg.Application.Port, err = strconv.Atoi(addr[strings.LastIndex(addr, ":")+1:]); err != nil {
		t.Fatal(err)
	}
	p = &program{tb: t, base: "http://" + addr, ended: make(chan struct{})}
	p.cmd = command(context.Background(), nil, "-config", writeConfig(t, cfg))
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // tests read the exit code
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has usually ended
		<-p.ended
	})
	eventually(t, startWithin, "the gateway is ready", func() bool {
		got, err := tryURL(http.MethodGet, p.base+"/ready", "")
		return err == nil && got.status == http.StatusOK
	})
	return p, reader
}

// A reader of the log that stalls, or goes away, stops neither requests nor
// signals, also if the stop itself ends with an error.
func TestLogReader(t *testing.T) {
	const requests = 1500 // have more lines than a FIFO's 64 KiB
	redis := storetest.StartRedis(t)
	tests := map[string]struct{ leaves, fails bool }{
		"stalls":                    {},
		"goes away":                 {leaves: true},
		"stalls, the stop fails":    {fails: true},
		"goes away, the stop fails": {leaves: true, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			backend := startGate(t)
			cfg := testConfig(redis.Addr, backend.url)
			cfg.ServerTimeouts.ShutdownTimeout = config.Duration(500 * time.Millisecond)
			p, reader := startInto(t, cfg)
			if tt.leaves {
				reader.Close()
			}
			jwt := mintToken(t, cfg, 2*requests).JWT
			for range requests {
				p.get("/api/v1/test2", jwt).want(t, http.StatusOK, "")
			}
			p.get("/ready", "").want(t, http.StatusOK, "")
			code, wait := 0, func() []result { return nil }
			if tt.fails {
				code, wait = 1, backend.hold(t, p, jwt, 1)
			}
			p.signal(syscall.SIGTERM)
			p.wantExit(code, stopWithin)
			wait()
		})
	}
}
