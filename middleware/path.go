package middleware

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Path is a request path that every server reads in the same way.
type Path struct {
	// Decoded is what routes are matched against.
	Decoded string
	// Escaped is what is forwarded. Its percent-encoding is normalised (RFC 3986
	// §6.2.2): unreserved characters are plain, all other escapes upper-case.
	Escaped string
}

var errPathAmbiguous = errors.New("path can be read in more than one way")

// CanonicalPath returns the request's path in the one form that is authorised
// and forwarded. It returns an error, and repairs nothing, if servers are known
// to read the path differently: if it has empty or dot segments (also encoded,
// doubly encoded, or with parameters as in "..;x"), encoded slashes or
// backslashes, backslashes, control characters, a raw "#", or bytes that are
// not UTF-8.
func CanonicalPath(u *url.URL) (Path, error) {
	decoded := u.Path
	switch {
	case !strings.HasPrefix(decoded, "/"),
		strings.Contains(u.RawPath, "#"),
		hasEncoded(u.RawPath, "2F"), // u.Path no longer shows it
		strings.Contains(decoded, `\`),
		hasControl(decoded),
		!utf8.ValidString(decoded),
		hasAmbiguousSegment(decoded):
		return Path{}, errPathAmbiguous
	}
	escaped := u.EscapedPath()
	if !strings.Contains(escaped, "%") {
		return Path{Decoded: decoded, Escaped: escaped}, nil
	}
	if hasDoublyEncoded(decoded) {
		return Path{}, errPathAmbiguous
	}
	return Path{Decoded: decoded, Escaped: normaliseEscapes(escaped)}, nil
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// hasAmbiguousSegment reports whether there is a dot segment, or an empty one
// that is not the last. Some servers cut a segment at ";" before they resolve
// dots.
func hasAmbiguousSegment(decoded string) bool {
	rest := decoded[1:]
	for {
		segment, tail, more := strings.Cut(rest, "/")
		name, _, parameters := strings.Cut(segment, ";")
		if name == "." || name == ".." || name == "" && (more || parameters) {
			return true
		}
		if !more {
			return false
		}
		rest = tail
	}
}

// hasDoublyEncoded reports whether a path that was decoded once still has an
// escaped dot, slash, backslash, percent sign or NUL: a server that decodes
// again would read another path.
func hasDoublyEncoded(decoded string) bool {
	for _, code := range []string{"2E", "2F", "5C", "25", "00"} {
		if hasEncoded(decoded, code) {
			return true
		}
	}
	return false
}

// hasEncoded reports whether s contains "%" and the two hexadecimal digits of
// code, in either case.
func hasEncoded(s, code string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 || len(s) < i+3 {
			return false
		}
		if strings.EqualFold(s[i+1:i+3], code) {
			return true
		}
		s = s[i+1:]
	}
}

// normaliseEscapes expects valid escapes, as url.URL.EscapedPath returns them.
func normaliseEscapes(escaped string) string {
	var b strings.Builder
	b.Grow(len(escaped))
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' || len(escaped) < i+3 {
			b.WriteByte(escaped[i])
			continue
		}
		code := escaped[i : i+3]
		i += 2
		if c, err := url.PathUnescape(code); err == nil && unreserved(c[0]) {
			b.WriteString(c)
			continue
		}
		b.WriteString(strings.ToUpper(code))
	}
	return b.String()
}
