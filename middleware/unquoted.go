package middleware

import (
	"errors"
	"strings"
)

// Unquoted cuts an error's text off where it begins to quote: what is quoted
// came from somebody else. net/http repeats what a backend said, which may echo
// the client's credentials, and Redis the arguments of a command, which name
// the api key.
func Unquoted(text string) string {
	if i := strings.IndexAny(text, "\"'`"); i >= 0 {
		text = strings.TrimSpace(text[:i]) + " …"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// unquotedError returns the error itself where its text quotes nothing.
func unquotedError(err error) error {
	if text := Unquoted(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}
