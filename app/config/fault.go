package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// shownRunes bounds what a fault repeats of a value or a key.
const shownRunes = 64

// Error is every fault of one phase, so that an operator corrects all of them in
// one round.
type Error struct {
	// Faults are one line each: the key and its variable if that was set, the
	// value unless it is secret, what is wrong, and what would be right.
	Faults []string
}

// Error writes a header and then one line for each fault.
func (e *Error) Error() string {
	plural := "s"
	if len(e.Faults) == 1 {
		plural = ""
	}
	return fmt.Sprintf("configuration refused: %d fault%s\n  %s", len(e.Faults), plural, strings.Join(e.Faults, "\n  "))
}

// refuse reports a fault. A value that is empty is not shown.
func (l *loader) refuse(name, value, problem, fix string) {
	if value != "" {
		name += " = " + value
	}
	l.faults = append(l.faults, name+": "+problem+"; "+fix)
}

// blankCredentials hides what stands before an @ and after a ? in anything that
// may be a URL. It does not use url.Parse, because a value that does not parse
// is printed too.
func blankCredentials(text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if isURL = isURL && !strings.Contains(scheme, "@"); isURL {
		scheme += "://"
	} else {
		scheme, rest = "", text
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "***" + rest[at:]
	}
	if end := strings.IndexAny(rest, "?#"); isURL && end >= 0 {
		rest = rest[:end+1] + "***"
	}
	return scheme + rest
}

// quoteShort quotes the beginning of a text.
func quoteShort(text string) string {
	quoted := fmt.Sprintf("%.*q", shownRunes, text)
	if utf8.RuneCountInString(text) > shownRunes {
		quoted += "..."
	}
	return quoted
}

// shownKey leaves a plain key as it is and quotes one that could break the line.
func shownKey(path string) string {
	if quoted := quoteShort(path); path == "" || quoted != `"`+path+`"` || strings.Contains(path, " ") {
		return quoted
	}
	return path
}

// didYouMean is the fix for an unknown name: the known name that differs from it
// at one place, by at most two letters, or that it is the last part of.
func didYouMean(name string, known []string) string {
	best, least := "remove it", 3
	for _, candidate := range known {
		a, b := strings.ToLower(name), strings.ToLower(candidate)
		same, end := 0, 0
		for same < min(len(a), len(b)) && a[same] == b[same] {
			same++
		}
		for end < min(len(a), len(b))-same && a[len(a)-1-end] == b[len(b)-1-end] {
			end++
		}
		if n := max(len(a), len(b)) - same - end; n < least || strings.HasSuffix(b, "."+a) {
			best, least = "did you mean "+candidate+"?", min(n, least)
		}
	}
	return best
}
