package lean

import (
	"net/http"
	"strings"
)

// maxHead bounds the request heads that are sent here, in bytes. A head of this
// size fits into the kernel's buffers: writing it does not block if the upstream
// answers before it reads, so no second goroutine has to read.
const maxHead = 32 << 10

// serves reports whether req is sent here. A request that http.Transport would
// refuse is not: the fallback returns the error.
func (t *Transport) serves(req *http.Request) bool {
	switch {
	case !t.enabled,
		req.URL == nil || req.URL.Scheme != "http" || req.URL.Host != t.host,
		req.Header == nil,
		req.Body != nil && req.Body != http.NoBody,
		req.ContentLength != 0 || len(req.TransferEncoding) > 0 || len(req.Trailer) > 0,
		req.Method == http.MethodConnect || req.Method != "" && !isToken(req.Method),
		req.Cancel != nil: //nolint:staticcheck // Deprecated, but net/http honours it.
		return false
	}
	size := 3*len(req.URL.Path) + len(req.URL.RawPath) + len(req.URL.Opaque) + len(req.URL.RawQuery) + len(req.Host)
	for name, values := range req.Header {
		if !isToken(name) || strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "Expect") {
			return false
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return false
			}
			size += len(name) + len(value)
		}
	}
	return size <= maxHead
}

// replayable reports whether a request may be sent again although the upstream
// may have seen it. The rule is that of net/http.
func replayable(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xKey := req.Header["X-Idempotency-Key"]
	return key || xKey
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		b := s[i]
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-':
		case strings.IndexByte("!#$%&'*+.^_`|~", b) < 0:
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s has no control characters except tabs.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
