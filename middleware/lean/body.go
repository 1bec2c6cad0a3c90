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

// body is a response's body. It owns the connection until the body was read to
// its end or closed, and never touches it after. Close may be called while a
// Read waits.
type body struct {
	conn *conn
	ctx  context.Context // the request's: its end ends the body
	stop func() bool     // ends the watch over ctx; nil if there is none
	keep bool            // the connection may be used again
	src  io.ReadCloser   // net/http's; its Close would read all that is left, and is not used

	mu  sync.Mutex // guards err
	err error      // what further reads return; not nil once conn is not ours
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
	case b.err != nil: // closed meanwhile
		err = b.err
	case err == io.EOF:
		b.err = err
		b.release(b.keep)
	default:
		err = b.fail(err)
		b.err = err
	}
	return n, err
}

// Close implements [io.Closer]. A body that was not read to its end takes its
// connection along.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.release(false)
	}
	b.err = errBodyClosed
	return nil
}

// fail closes the connection and returns why: the context's end explains every
// other error.
func (b *body) fail(err error) error {
	b.release(false)
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	return err
}

// release returns the connection to the pool, or closes it. What came behind
// the response is nobody's answer, so the connection is not used again.
func (b *body) release(keep bool) {
	c := b.conn
	// If stop comes too late, c is being closed.
	watched := b.stop == nil || b.stop()
	if keep && watched && c.err == nil && c.raw != nil && c.br.Buffered() == 0 && c.pool.put(c) {
		return
	}
	c.abort()
}
