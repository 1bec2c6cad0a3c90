package main

import "syscall"

// withParent makes the kernel end a server whose test was killed, or ran into
// its timeout, and so never came to its Cleanup.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
