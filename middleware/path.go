package middleware

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
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
// doubly encoded, with parameters as in "..;x", or with white space or invisible
// characters), encoded slashes or backslashes, backslashes, control characters, a
// raw "#", bytes that are not UTF-8, or characters that some servers replace by a
// slash, a dot or a percent sign (see lookAlike).
func CanonicalPath(u *url.URL) (Path, error) {
	decoded := u.Path
	switch {
	case !strings.HasPrefix(decoded, "/"),
		strings.Contains(u.RawPath, "#"),
		hasEncoded(u.RawPath, "2F"), // u.Path no longer shows it
		strings.Contains(decoded, `\`),
		hasControl(decoded),
		!utf8.ValidString(decoded),
		hasLookAlikeSeparator(decoded),
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
// dots, and some trim it.
func hasAmbiguousSegment(decoded string) bool {
	rest := decoded[1:]
	for {
		segment, tail, more := strings.Cut(rest, "/")
		name, _, parameters := strings.Cut(segment, ";")
		if name == "" && (more || parameters) || isDots(name) {
			return true
		}
		if !more {
			return false
		}
		rest = tail
	}
}

// isDots reports whether some server reads a segment as "." or "..": it is one of
// them, or consists of dots, look-alikes of dots, and characters that are trimmed
// or not seen. Three or more plain dots are a name.
func isDots(segment string) bool {
	if segment == "" || segment[0] != '.' && segment[0] != ' ' && segment[0] < utf8.RuneSelf {
		return false
	}
	for _, r := range segment {
		if lookAlike(r) != '.' && !isBlank(r) {
			return lookAlike(r) == ';' // the rest is a parameter
		}
	}
	return len(segment) <= 2 || strings.Trim(segment, ".") != ""
}

// lookAlike returns the ASCII character by which Unicode's compatibility
// normalisation (NFKC), IDNA or a code page's best fit replaces r, if that is one
// of "./\\%;", else r.
func lookAlike(r rune) rune {
	switch r {
	case '\uFF0E', '\u2024', '\u2025', '\u2026', '\uFE52', '\uFE19', '\uFE30', '\u3002', '\uFF61':
		return '.'
	case '\uFF0F', '\u2044', '\u2215', '\u29F8', '\u2571', '\u2100', '\u2101', '\u2105', '\u2106':
		return '/'
	case '\uFF3C', '\uFE68', '\u2216', '\u29F5', '\u29F9':
		return '\\'
	case '\uFF05', '\uFE6A':
		return '%'
	case '\uFF1B', '\uFE54', '\uFE14', '\u037E':
		return ';'
	}
	return r
}

// isBlank reports whether r is white space, or a character that is not shown and
// that some programs remove.
func isBlank(r rune) bool {
	return unicode.In(r, unicode.Z, unicode.C, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || r == '\u2800'
}

// hasLookAlikeSeparator reports whether there is a look-alike of a slash or a
// backslash, or one of a percent sign before two hexadecimal digits.
func hasLookAlikeSeparator(s string) bool {
	for i, r := range s {
		if r < utf8.RuneSelf {
			continue
		}
		switch lookAlike(r) {
		case '/', '\\':
			return true
		case '%':
			if rest := s[i+utf8.RuneLen(r):]; len(rest) >= 2 && isHex(rest[0]) && isHex(rest[1]) {
				return true
			}
		}
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
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
