package app

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// lengthField is the field that [lengthWatch] looks for, in any case.
const lengthField = "content-length"

// lengthWatch is a connection that knows whether it has carried a Content-Length.
// net/http hides that field if a request has a Transfer-Encoding too, and keeps
// the connection, which RFC 9112 §6.1 forbids: the two disagree about where the
// request ends. A body that contains the name counts as well; that only costs the
// connection.
type lengthWatch struct {
	*net.TCPConn

	seen atomic.Bool // a handler reads it while the connection reads on
	tail []byte      // the last bytes read, in which the name may begin
	kept [len(lengthField) - 1]byte
}

// Read implements [net.Conn].
func (c *lengthWatch) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 && !c.seen.Load() {
		c.look(p[:n])
	}
	return n, err
}

func (c *lengthWatch) look(p []byte) {
	var edge [2 * (len(lengthField) - 1)]byte
	begin := copy(edge[:], c.tail)
	end := begin + copy(edge[begin:], p[:min(len(p), len(lengthField)-1)])
	if begin > 0 && hasLengthField(edge[:end]) || hasLengthField(p) {
		c.seen.Store(true)
		return
	}
	if len(p) < len(c.kept) {
		p = edge[:end]
	}
	c.tail = append(c.kept[:0], p[max(0, len(p)-len(c.kept)):]...)
}

// hasLengthField reports whether b contains "content-length" in any case.
func hasLengthField(b []byte) bool {
	const before = len("content")
	for {
		i := bytes.IndexByte(b, '-')
		if i < 0 {
			return false
		}
		if i >= before && len(b) >= i-before+len(lengthField) &&
			bytes.EqualFold(b[i-before:i-before+len(lengthField)], []byte(lengthField)) {
			return true
		}
		b = b[i+1:]
	}
}

// watchedListener makes a [lengthWatch] of each connection.
type watchedListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return &lengthWatch{TCPConn: tcp}, nil
	}
	return conn, err
}

type lengthWatchKey struct{}

// withWatch is the server's ConnContext: handlers find the connection.
func withWatch(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, lengthWatchKey{}, conn)
}

// lengthInDoubt reports whether a request in chunks may have had a Content-Length
// as well.
func lengthInDoubt(r *http.Request) bool {
	if len(r.TransferEncoding) == 0 {
		return false
	}
	watch, ok := r.Context().Value(lengthWatchKey{}).(*lengthWatch)
	return ok && watch.seen.Load()
}
