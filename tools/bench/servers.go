package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	startWithin = 10 * time.Second
	stopWithin  = 5 * time.Second
)

// A server is a process that this program started.
type server struct {
	addr    string // host:port
	metrics string // URL with Go's memory metrics, or empty
	workers bool   // whether child processes do the work
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	done    chan struct{}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the process and waits for its end.
func (s *server) stop() {
	s.cancel()
	<-s.done
}

// A lab is the machinery of one run: a directory, Redis, a backend, a sink of
// traces, and the processes that were started beside them.
type lab struct {
	ctx       context.Context
	cancel    context.CancelFunc
	dir, repo string
	gateway   string // the program that was built
	redis     *server
	backend   *server
	backendIs string
	sink      *sink
	tokens    *tokens
	running   sync.WaitGroup
}

func newLab(ctx context.Context, repo string) (*lab, error) {
	dir, err := os.MkdirTemp("", "tyk_proxy-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &lab{ctx: ctx, cancel: cancel, dir: dir, repo: repo}
	if err := l.prepare(); err != nil { //nolint:contextcheck // the lab holds it
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) prepare() error {
	for _, program := range []string{"wrk", "redis-server"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is needed: %w", program, err)
		}
	}
	var err error
	if l.gateway, err = l.build(); err != nil {
		return err
	}
	if l.sink, err = startSink(l.ctx); err != nil {
		return err
	}
	if l.redis, err = l.startRedis(); err != nil {
		return err
	}
	if l.backend, l.backendIs, err = l.startBackend(); err != nil {
		return err
	}
	l.tokens, err = newTokens(l.ctx, l.redis.addr, l.dir)
	return err
}

// close ends every process and removes the directory.
func (l *lab) close() {
	l.cancel()
	l.running.Wait()
	if l.sink != nil {
		l.sink.stop()
	}
	if err := os.RemoveAll(l.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func (l *lab) build() (string, error) {
	program := filepath.Join(l.dir, "tyk_proxy")
	cmd := exec.CommandContext(l.ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./cmd/tyk_proxy")
	cmd.Dir = l.repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return program, nil
}

// start runs a program that will listen on addr, and returns when it does. Its
// output goes to a file, of which a failure shows the end.
func (l *lab) start(addr, program string, args ...string) (*server, error) {
	ctx, cancel := context.WithCancel(l.ctx)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	// Ctrl-C goes to this process alone, which then ends its children; they end
	// also if this process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := os.CreateTemp(l.dir, filepath.Base(program)+"-*.log")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("making a log file: %w", err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	s := &server{addr: addr, cmd: cmd, cancel: cancel, done: make(chan struct{})}
	l.running.Go(func() {
		_ = cmd.Wait() // it ends by a signal
		close(s.done)
	})
	if err := s.awaitListening(ctx); err != nil {
		s.stop()
		text, _ := os.ReadFile(out.Name()) // an empty text says nothing more
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, text[max(0, len(text)-2000):])
	}
	return s, nil
}

func (s *server) awaitListening(ctx context.Context) error {
	deadline := time.Now().Add(startWithin)
	var dialer net.Dialer
	for time.Now().Before(deadline) {
		conn, err := dialer.DialContext(ctx, "tcp", s.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return errors.New("it does not listen")
}

// freeAddr returns an address on which nobody listens now.
func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

func (l *lab) startRedis() (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr) // it comes from the listener
	return l.start(addr, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
		"--dir", l.dir, "--maxclients", "15000", "--tcp-backlog", "4096")
}

// startBackend prefers nginx, which leaves the most of the machine to the
// servers under test.
func (l *lab) startBackend() (*server, string, error) {
	if _, err := exec.LookPath("nginx"); err == nil {
		s, err := l.startNginx("backend.conf", nil)
		return s, "nginx", err
	}
	s, err := l.startSelf("backend", "")
	return s, "a small Go server", err
}

// startSelf runs a server that this program contains.
func (l *lab) startSelf(kind, target string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	control, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	s, err := l.start(addr, self, serveMode, kind, addr+","+control+","+target)
	if err != nil {
		return nil, err
	}
	s.metrics = "http://" + control + "/metrics"
	return s, nil
}
