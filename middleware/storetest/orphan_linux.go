package storetest

import "syscall"

// withParent makes the kernel end the server if its test is killed or times out
// before its Cleanup.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
