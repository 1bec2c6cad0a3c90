package storetest

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// requireServers names the environment variable that turns a missing program
// from a skipped test into a failed one: CI installs them all.
const requireServers = "TYK_PROXY_REQUIRE_SERVERS"

// Installed returns the path of a program that a test needs. Where it is not
// installed the test is skipped, or fails if TYK_PROXY_REQUIRE_SERVERS is 1.
func Installed(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(tb, program+" is not installed")
	}
	return path
}

// Missing skips a test for want of a server, or fails it if
// TYK_PROXY_REQUIRE_SERVERS is 1; why says what is missing.
func Missing(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv(requireServers) == "1" {
		tb.Fatalf("%s is 1 and %s", requireServers, why)
	}
	tb.Skip(why)
}

// StartProcess starts a server that ends with the process of its test, even if
// that is killed or runs into its timeout and never comes to its Cleanup (on
// Linux). The channel is closed when the server has ended.
func StartProcess(cmd *exec.Cmd) (done <-chan struct{}, err error) {
	cmd.SysProcAttr = withParent()
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// A parent is a thread to the kernel: this one lives as long as its child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, which Wait reports as an error
		}
	}()
	return ended, <-started
}

// FreeAddr returns a loopback address, host:port, on which nothing listens.
// Somebody else may take it before it is used.
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
