package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// readGrace is the time for one more read after a deadline has passed.
const readGrace = 10 * time.Millisecond

// dial opens a shared connection.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.options.dial(ctx, network, addr, func(conn *refusableConn) net.Conn {
		return &heardConn{refusableConn: conn, patience: c.options.Timeout, silence: c.silence}
	})
}

// dialPlain opens any other connection.
func (o Options) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	return o.dial(ctx, network, addr, func(conn *refusableConn) net.Conn { return conn })
}

func (o Options) dial(ctx context.Context, network, addr string, wrap func(*refusableConn) net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	dialer := net.Dialer{KeepAlive: 5 * time.Second}
	plain, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := plain.(*net.TCPConn)
	if !ok {
		_ = plain.Close() // nothing was sent
		return nil, errors.New("the connection is not TCP")
	}
	conn := wrap(&refusableConn{TCPConn: tcp})
	if o.TLS == nil {
		return conn, nil
	}
	secured := tls.Client(conn, o.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	return secured, nil
}

// heardConn is a connection whose read timeout is the time without a byte, and
// not the time for a whole batch: a batch of large records may take longer.
type heardConn struct {
	*refusableConn

	patience time.Duration
	silence  *silence
	timed    bool // reads have a deadline; false during a TLS handshake
}

// Read implements net.Conn. After the deadline it reads once more: if this process
// was not scheduled for a while, the answer has already arrived. If nothing has, a
// probe tells a slow Redis, which is given the time once more, from a silent one.
func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.readOrLook(p)
	if n == 0 && c.timed && errors.Is(err, os.ErrDeadlineExceeded) {
		if !c.silence.answersElsewhere() {
			return 0, silenceError{err}
		}
		// Once: the reply on this connection may be lost.
		if err := c.TCPConn.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return 0, err
		}
		n, err = c.readOrLook(p)
	}
	if n > 0 {
		now := time.Now()
		c.silence.heard.Store(now.UnixNano())
		if c.timed {
			_ = c.TCPConn.SetReadDeadline(now.Add(c.patience)) // fails only if closed
		}
	}
	return n, err
}

// SetReadDeadline implements net.Conn. It does not use t, because go-redis v9.23
// computes it from a cached time that may be 50 ms old.
func (c *heardConn) SetReadDeadline(t time.Time) error {
	c.timed = !t.IsZero()
	if c.timed {
		t = time.Now().Add(c.patience)
	}
	return c.TCPConn.SetReadDeadline(t)
}

func (c *heardConn) readOrLook(p []byte) (int, error) {
	n, err := c.refusableConn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return c.again(p, c.refusableConn.Read, c.TCPConn.SetReadDeadline)
	}
	return n, err
}

// Write implements net.Conn. When the time is up it tries the rest once more,
// for the same reason as Read does.
func (c *heardConn) Write(p []byte) (int, error) {
	n, err := c.refusableConn.Write(p)
	if n < len(p) && errors.Is(err, os.ErrDeadlineExceeded) {
		var more int
		more, err = c.again(p[n:], c.refusableConn.Write, c.TCPConn.SetWriteDeadline)
		n += more
	}
	return n, err
}

// again repeats an operation whose time was up, for readGrace. If that took far
// longer, this process was not given a processor and the operation may not even
// have been tried: then once more.
func (c *heardConn) again(p []byte, operate func([]byte) (int, error), deadline func(time.Time) error) (n int, err error) {
	for range 5 {
		began := time.Now()
		if err := deadline(began.Add(readGrace)); err != nil {
			return 0, err
		}
		n, err = operate(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) < 2*readGrace {
			return n, err
		}
		c.silence.starved.Store(time.Now().UnixNano())
	}
	return n, err
}

// SetWriteDeadline implements net.Conn; see SetReadDeadline.
func (c *heardConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		t = time.Now().Add(c.patience)
	}
	return c.TCPConn.SetWriteDeadline(t)
}

// silenceError is a timeout after which a probe was not answered either.
type silenceError struct{ error }

// Timeout implements net.Error.
func (silenceError) Timeout() bool { return true }

// Temporary implements net.Error.
func (silenceError) Temporary() bool { return false }

// Unwrap returns the timeout.
func (e silenceError) Unwrap() error { return e.error }
