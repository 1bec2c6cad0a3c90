package middleware

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// OpenStreams counts the exchanges that may never end by themselves.
type OpenStreams struct {
	// Endless are responses whose media type has no end, such as server-sent events.
	Endless int64
	// Unsized are other responses without a Content-Length. Most do end.
	Unsized int64
	// Upgraded are connections that speak another protocol.
	Upgraded int64
}

// streams counts the exchanges of one kind each.
type streams struct{ endless, unsized, upgraded atomic.Int64 }

// Streams returns how many streams are open.
func (p *Proxy) Streams() OpenStreams {
	return OpenStreams{
		Endless: p.open.endless.Load(), Unsized: p.open.unsized.Load(), Upgraded: p.open.upgraded.Load(),
	}
}

// of returns the counter for a response, or nil if its end is known.
func (s *streams) of(res *http.Response) *atomic.Int64 {
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		return &s.upgraded
	case res.ContentLength >= 0:
		return nil
	case isEndless(res.Header.Get("Content-Type")):
		return &s.endless
	default:
		return &s.unsized
	}
}

// isEndless reports whether responses of a media type go on until somebody leaves.
func isEndless(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.TrimSpace(mediaType)
	return strings.EqualFold(mediaType, "text/event-stream") || strings.EqualFold(mediaType, "multipart/x-mixed-replace")
}

// relayed counts a stream that has ended.
func (f *forwarding) relayed() {
	if f.stream != nil {
		f.stream.Add(-1)
	}
}

// bufferPool lends the buffers through which response bodies are copied. It
// implements httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[copyBufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, copyBufferSize)
}

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) {
	if len(b) == copyBufferSize {
		p.pool.Put((*[copyBufferSize]byte)(b))
	}
}
