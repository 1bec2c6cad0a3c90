package redisstore

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxRefusal is how much of a refusal is kept, in bytes. Redis explains protected
// mode in eight hundred.
const maxRefusal = 160

// refusableConn is a connection that Redis may refuse: in protected mode, or with
// too many clients, it sends an error line and closes the connection before it
// reads a command. Whoever writes to that sees a broken pipe. The error then
// includes what Redis said.
type refusableConn struct {
	*net.TCPConn

	received bool   // something was read
	said     string // the error line that was read first, if there was one
}

// Read implements net.Conn.
func (c *refusableConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 && !c.received {
		c.received = true
		c.said = refusal(p[:n])
	}
	return n, c.explain(err)
}

// Write implements net.Conn. After a write to a connection that was closed it
// reads what Redis said before.
func (c *refusableConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	closed := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
	if closed && !c.received && c.SetReadDeadline(time.Now().Add(readGrace)) == nil {
		_, _ = c.Read(make([]byte, maxRefusal)) // for what it says
	}
	return n, c.explain(err)
}

func (c *refusableConn) explain(err error) error {
	if err == nil || c.said == "" || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("it closed the connection and said: %s: %w", c.said, err)
}

// refusal returns the error line that the bytes begin with, or "".
func refusal(received []byte) string {
	if received[0] != '-' {
		return ""
	}
	line, _, _ := bytes.Cut(received[1:], []byte("\r\n"))
	return strings.ToValidUTF8(string(line[:min(len(line), maxRefusal)]), "\uFFFD")
}
