package middleware

import (
	"errors"
	"strings"
)

// Redact cuts the text of an error off before its first quotation mark, because
// quoted text may contain credentials: net/http quotes what an upstream sent,
// and Redis quotes the arguments of a command, which name the api key. The name
// of a command that Redis refused is no secret and stays, without its quotes.
func Redact(text string) string {
	if i := strings.IndexAny(text, quotes); i >= 0 {
		known, rest := text[:i], text[i+1:]
		if name := refusedCommand(known, rest); name != "" {
			known, rest = known+name, rest[len(name)+1:]
			i = strings.IndexAny(rest, quotes)
			if i < 0 {
				return strings.ToValidUTF8(known+rest, "\uFFFD")
			}
			known += rest[:i]
		}
		text = strings.TrimSpace(known) + " …"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

const quotes = "\"'`"

// maxCommand bounds the name of a command of Redis.
const maxCommand = 32

// refusedCommand returns the command that a reply of Redis quotes, or "" if what
// follows the reply's first quotation mark is not one. The replies are "ERR
// unknown command 'GET', with args beginning with: …" and "NOPERM User u has no
// permissions to run the 'get' command".
func refusedCommand(before, after string) string {
	unknown := strings.HasSuffix(before, "ERR unknown command ")
	denied := strings.Contains(before, "NOPERM ") && strings.HasSuffix(before, " run the ")
	end := strings.IndexAny(after, quotes)
	if end <= 0 || end > maxCommand || !unknown && (!denied || !strings.HasPrefix(after[end+1:], " command")) {
		return ""
	}
	for _, c := range []byte(after[:end]) {
		if !unreserved(c) && c != '|' { // a bar precedes a subcommand
			return ""
		}
	}
	return after[:end]
}

// RedactError applies [Redact] to an error. It returns err itself if its text
// quotes nothing.
func RedactError(err error) error {
	if text := Redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}
