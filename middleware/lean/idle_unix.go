//go:build unix

package lean

import (
	"errors"
	"syscall"
)

// idleChecked reports that isQuiet works. Without it, bytes that arrived while a
// connection was idle would be read as the answer to the next request.
const idleChecked = true

// readNothing reads without blocking (the descriptors of package net are
// non-blocking) and sets quiet if there is nothing to read. After a byte or the
// end of the stream the connection must not be used.
func (c *conn) readNothing(fd uintptr) {
	_, err := syscall.Read(int(fd), c.one[:])
	c.quiet = errors.Is(err, syscall.EAGAIN)
}
