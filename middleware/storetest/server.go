package storetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startAttempts = 5               // the free port may be taken before Redis binds it
	startTimeout  = 5 * time.Second // for Redis to answer
)

// Server is a redis-server process of one test, without persistence.
type Server struct {
	Addr string // host:port, the same after a restart

	tb   testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
	done <-chan struct{} // closed when the process has ended
}

// StartRedis starts a redis-server on a free loopback port, with args added to
// its command line. It ends with the test. If redis-server is not installed, the
// test is skipped, or fails if TYK_PROXY_REQUIRE_SERVERS is 1.
func StartRedis(tb testing.TB, args ...string) *Server {
	tb.Helper()
	Installed(tb, "redis-server")
	s := &Server{tb: tb, dir: tb.TempDir(), args: args}
	tb.Cleanup(s.Stop)
	var err error
	for range startAttempts {
		s.Addr = FreeAddr(tb)
		if err = s.start(); err == nil {
			return s
		}
	}
	tb.Fatalf("starting redis-server: %v", err)
	return nil
}

// Stop kills the process, if it runs, and waits for its end.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGKILL) // ends a paused process too
	<-s.done
	s.cmd = nil
}

// Restart stops the server, if it runs, and starts an empty one on its port.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.tb.Fatalf("restarting redis-server: %v", err)
	}
}

// Pause stops the process: the kernel still accepts connections, but nothing is
// answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Errorf("sending %s to redis-server: %v", sig, err)
	}
}

func (s *Server) start() error {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	log := filepath.Join(s.dir, "redis.log")
	args := slices.Concat([]string{
		"--bind", host, "--port", port, "--dir", s.dir, "--logfile", log,
		"--save", "", "--appendonly", "no",
	}, s.args)
	cmd := exec.Command("redis-server", args...) //nolint:gosec,noctx // a test's own arguments; Cleanup ends it
	done, err := StartProcess(cmd)
	if err != nil {
		return err
	}
	s.cmd, s.done = cmd, done
	if err := s.await(); err != nil {
		s.Stop()
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%w; its log:\n%s", err, text)
	}
	return nil
}

// await waits until the server answers.
func (s *Server) await() error {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-s.done:
			return errors.New("redis-server ended")
		default:
		}
		if answers(s.Addr) {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("timed out after %s waiting for an answer", startTimeout)
}

// answers sends PING over a plain connection, so that this package needs no client
// library. A server that requires a password answers too.
func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second) //nolint:noctx // it has a timeout
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing is lost if it fails
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	text := string(reply[:n])
	return err == nil && (strings.HasPrefix(text, "+PONG") || strings.HasPrefix(text, "-NOAUTH"))
}
