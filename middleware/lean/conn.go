package lean

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"syscall"
	"time"
)

// conn is a connection to the upstream. One goroutine at a time uses it; only
// abort may be called at any time.
type conn struct {
	nc    net.Conn
	br    *bufio.Reader
	bw    *bufio.Writer
	pool  *pool
	abort func() // nc.Close, made once

	raw   syscall.RawConn // nil if nc has none; then nc is not reused
	probe func(fd uintptr)
	one   [1]byte
	quiet bool // result of probe

	readLimit int64 // bytes that may still be read
	written   int64 // bytes of the current request
	answered  bool  // a byte of the current response was received
	err       error // of the last read or write; if not nil, c is not reused
	reused    bool
	idleSince time.Time
}

func newConn(nc net.Conn, p *pool, readSize, writeSize int) *conn {
	c := &conn{nc: nc, pool: p, abort: func() { _ = nc.Close() }} // nothing is buffered
	const size = 4 << 10                                          // as net/http
	if readSize <= 0 {
		readSize = size
	}
	if writeSize <= 0 {
		writeSize = size
	}
	c.br, c.bw = bufio.NewReaderSize(c, readSize), bufio.NewWriterSize(c, writeSize)
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.probe = raw, c.readNothing
		}
	}
	return c
}

// Read implements [io.Reader] for br. It bounds the size of response heads.
func (c *conn) Read(p []byte) (int, error) {
	if c.readLimit <= 0 {
		return 0, errHeadTooLong
	}
	n, err := c.nc.Read(p[:min(int64(len(p)), c.readLimit)])
	c.readLimit -= int64(n)
	c.err = err
	return n, err
}

// Write implements [io.Writer] for bw.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.nc.Write(p)
	c.written += int64(n)
	c.err = err
	return n, err
}

// readHead reads the head of the final response; 101 is final. It passes
// informational responses to the caller's trace. limit bounds, in bytes, all
// heads together, or each one if the caller looks at it.
func (c *conn) readHead(req *http.Request, trace *httptrace.ClientTrace, limit int64) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(c.br, req)
		if err != nil {
			if c.readLimit <= 0 {
				err = fmt.Errorf("%w: more than %d bytes", errHeadTooLong, limit)
			}
			return nil, err
		}
		if res.StatusCode < 100 || res.StatusCode > 199 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		}
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header)); err != nil {
				return nil, err
			}
			c.readLimit = limit
		}
	}
}

// mayRetry reports whether req, which failed on this connection, may be sent
// again on a fresh one: if the upstream closed the connection while it was idle,
// and has not begun to answer. A timeout is not retried.
func (c *conn) mayRetry(req *http.Request) bool {
	if c.err == nil || errors.Is(c.err, os.ErrDeadlineExceeded) || req.Context().Err() != nil {
		return false
	}
	return c.reused && !c.answered && (c.written == 0 || replayable(req))
}

// isQuiet reports whether an idle connection is still open and has nothing to
// read. No goroutine reads from idle connections, so get calls it before reuse.
func (c *conn) isQuiet() bool {
	c.quiet = false
	// Control, unlike Read, ignores the deadline of the last request.
	return c.raw.Control(c.probe) == nil && c.quiet
}

func (c *conn) traceInfo() httptrace.GotConnInfo {
	info := httptrace.GotConnInfo{Conn: c.nc, Reused: c.reused, WasIdle: c.reused}
	if c.reused {
		info.IdleTime = time.Since(c.idleSince)
	}
	return info
}

// timeoutError mirrors the error of http.Transport.
type timeoutError struct{}

func (timeoutError) Error() string     { return "timeout awaiting response headers" }
func (timeoutError) Timeout() bool     { return true }
func (timeoutError) Temporary() bool   { return true }
func (timeoutError) Is(err error) bool { return err == context.DeadlineExceeded }

// explain returns timeoutError if the deadline has passed, else err: the parser
// reports a line that was cut off by the deadline as malformed.
func (c *conn) explain(err error) error {
	if errors.Is(c.err, os.ErrDeadlineExceeded) {
		return timeoutError{}
	}
	return err
}
