//go:build !linux

package main

import "syscall"

// withParent: elsewhere a server outlives a test that was killed.
func withParent() *syscall.SysProcAttr { return nil }
