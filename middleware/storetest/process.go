package storetest

import (
	"net"
	"os/exec"
	"runtime"
)

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
func FreeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed in the next line
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
