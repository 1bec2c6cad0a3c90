package storetest

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// requireServers is the environment variable with which a test fails, and is not
// skipped, if a program is missing. CI sets it.
const requireServers = "TYK_PROXY_REQUIRE_SERVERS"

// Installed returns the path of a program that a test needs. If it is not
// installed, the test is skipped, or fails if TYK_PROXY_REQUIRE_SERVERS is 1.
func Installed(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(tb, program+" is not installed")
	}
	return path
}

// Missing skips a test because a server is missing, or fails it if
// TYK_PROXY_REQUIRE_SERVERS is 1. why says what is missing.
func Missing(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv(requireServers) == "1" {
		tb.Fatalf("%s is 1 and %s", requireServers, why)
	}
	tb.Skip(why)
}

// StartProcess starts a server. On Linux the server ends with the process of its
// test, even if that is killed or times out before its Cleanup. The channel is
// closed when the server has ended.
func StartProcess(cmd *exec.Cmd) (done <-chan struct{}, err error) {
	cmd.SysProcAttr = withParent()
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// To the kernel the parent is a thread, which must exist as long as the server.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // returns an error because the server is killed
		}
	}()
	return ended, <-started
}

// FreeAddr returns a loopback address, host:port, on which nothing listens.
// Another process may take it before it is used.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed in the next line
	if err == nil {
		err = listener.Close()
	}
	if err != nil {
		tb.Fatalf("looking for a free port: %v", err)
	}
	return listener.Addr().String()
}
