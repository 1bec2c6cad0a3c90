//go:build !linux

package storetest

import "syscall"

// withParent: elsewhere a server outlives a test that was killed.
func withParent() *syscall.SysProcAttr { return nil }
