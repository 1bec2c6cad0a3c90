package middleware

import (
	"errors"
	"strings"
)

// Redact cuts the text of an error off before its first quotation mark, because
// quoted text may contain credentials: net/http quotes what an upstream sent,
// and Redis quotes the arguments of a command, which name the api key.
func Redact(text string) string {
	if i := strings.IndexAny(text, "\"'`"); i >= 0 {
		text = strings.TrimSpace(text[:i]) + " …"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// RedactError applies [Redact] to an error. It returns err itself if its text
// quotes nothing.
func RedactError(err error) error {
	if text := Redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}
