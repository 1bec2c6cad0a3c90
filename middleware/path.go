package middleware

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Path is a request path that can be read in one way only.
type Path struct {
	// Decoded is what routes are matched against.
	Decoded string
	// Escaped is what is forwarded. Its percent-encoding is normalised (RFC 3986
	// §6.2.2): unreserved characters are plain, all other escapes upper-case.
	Escaped string
}

// errPathAmbiguous is the one reason why a path cannot be canonicalised.
var errPathAmbiguous = errors.New("path can be read in more than one way")

// CanonicalPath returns the request's path in the one form that is authorised
// and forwarded. It guesses nothing: a path that servers are known to read
// differently is refused, not repaired. Those are paths with empty or dot
// segments (also encoded, doubly encoded, or with parameters as in "..;x"),
// encoded slashes or backslashes, backslashes, control characters, a raw "#",
// and bytes that are not UTF-8.
func CanonicalPath(u *url.URL) (Path, error) {
	decoded := u.Path
	switch {
	case !strings.HasPrefix(decoded, "/"),
		strings.Contains(u.RawPath, "#"),
		hasEncoded(u.RawPath, "2F"), // EscapedPath may have decoded it already
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

// hasAmbiguousSegment finds empty segments, except the last, and dot segments.
// Some servers cut a segment at ";" before they resolve dots.
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

// hasDoublyEncoded finds escapes that are left after decoding once and that a
// server which decodes again would take for a dot, a slash, a backslash, a
// percent sign or NUL.
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

// normaliseEscapes expects a valid escaping, as url.URL.EscapedPath returns.
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
