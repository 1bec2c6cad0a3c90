//go:build unix

package lean

import (
	"errors"
	"syscall"
)

// idleChecked says that isQuiet works. Without it a byte that came while a
// connection was idle would be taken for the answer to the next request.
const idleChecked = true

// readNothing reads without waiting (the descriptors of package net are
// non-blocking) and wants nothing to be there: a byte or an end means that the
// connection is not to be used. It saves no byte, since one is too many.
func (c *conn) readNothing(fd uintptr) {
	_, err := syscall.Read(int(fd), c.one[:])
	c.quiet = errors.Is(err, syscall.EAGAIN)
}
