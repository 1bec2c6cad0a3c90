package lean

import (
	"context"
	"errors"
	"io"
	"sync"
)

var (
	errHeadTooLong = errors.New("response headers are too long")
	errBodyClosed  = errors.New("read on closed response body")
)

// body is a response's body. It owns the connection until the body is read to its
// end or closed, and does not use it after that. Close may be called while a
// Read waits.
type body struct {
	conn *conn
	ctx  context.Context // of the request; its end ends the body
	stop func() bool     // ends the watch over ctx; nil if there is none
	keep bool            // the connection may be used again
	src  io.ReadCloser   // net/http's; its Close is not used because it reads all that is left

	mu  sync.Mutex // guards err
	err error      // of further reads; not nil once the body does not own conn
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	err := b.err
	b.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := b.src.Read(p)
	if err == nil {
		return n, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil: // closed during the read
		err = b.err
	case err == io.EOF: //nolint:errorlint // a wrapped EOF is not the end of the body
		b.err = err
		b.release(b.keep)
	default:
		err = b.fail(err)
		b.err = err
	}
	return n, err
}

// Close implements [io.Closer]. It closes the connection if the body was not
// read to its end.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.release(false)
	}
	b.err = errBodyClosed
	return nil
}

// fail closes the connection and returns the cause: that of the context if it has
// ended, else err.
func (b *body) fail(err error) error {
	b.release(false)
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	return err
}

// release returns the connection to the pool, or closes it. A connection with
// unread bytes is closed: no request waits for them.
func (b *body) release(keep bool) {
	c := b.conn
	// If stop returns false, the context has ended and c is being closed.
	watched := b.stop == nil || b.stop()
	if keep && watched && c.err == nil && c.raw != nil && c.br.Buffered() == 0 && c.pool.put(c) {
		return
	}
	c.abort()
}
