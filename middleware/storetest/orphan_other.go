//go:build !linux

package storetest

import "syscall"

// withParent does nothing: the server keeps running if its test is killed.
func withParent() *syscall.SysProcAttr { return nil }
