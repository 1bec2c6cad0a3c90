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
	ctx, cancel := context.WithTimeout(ctx, c.options.DialTimeout)
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
	conn := &heardConn{TCPConn: tcp, patience: c.options.Timeout, silence: c.silence}
	if c.options.TLS == nil {
		return conn, nil
	}
	secured := tls.Client(conn, c.options.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	return secured, nil
}

// heardConn is a connection whose read timeout is the time without a byte, and
// not the time for a whole batch: a batch of large records may take longer.
type heardConn struct {
	*net.TCPConn

	patience time.Duration
	silence  *silence
	timed    bool // reads have a deadline; false during a TLS handshake
}

// Read implements net.Conn. After the deadline it reads once more: if this process
// was not scheduled for a while, the answer has already arrived.
func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		if err := c.TCPConn.SetReadDeadline(time.Now().Add(readGrace)); err != nil {
			return 0, err
		}
		n, err = c.TCPConn.Read(p)
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
