package middleware

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// bodyReader remembers why a request body could not be read: the transport
// reports it as if it were the upstream's fault. The transport may still read
// while the handler returns, hence the atomic.
type bodyReader struct {
	io.ReadCloser

	failed atomic.Pointer[error]
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// err returns why the body could not be read, or nil. b may be nil.
func (b *bodyReader) err() error {
	if b == nil {
		return nil
	}
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// copyBufferSize is what httputil allocates per response without a pool.
const copyBufferSize = 32 << 10

// bufferPool lends the buffers through which response bodies are copied. It
// implements httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[copyBufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, copyBufferSize)
}

func (p *bufferPool) Put(b []byte) {
	if len(b) == copyBufferSize {
		p.pool.Put((*[copyBufferSize]byte)(b))
	}
}
