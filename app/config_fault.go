package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shownBytes bounds what a fault repeats of a value or a key.
const shownBytes = 64

// ConfigError is every fault of a configuration, so that an operator mends all
// of them in one round.
type ConfigError struct {
	Faults []Fault
}

// Fault is one thing that is wrong. All its texts are safe to print.
type Fault struct {
	Key     string // JSON path; empty for an unknown variable
	Env     string // variable, when the value came from the environment
	Value   string // quoted and shortened, a secret only as its length; empty if not shown
	Problem string // what is wrong
	Fix     string // what would be right
}

// Error writes a header and then one line for each fault.
func (e *ConfigError) Error() string {
	var b strings.Builder
	plural := "s"
	if len(e.Faults) == 1 {
		plural = ""
	}
	fmt.Fprintf(&b, "configuration refused: %d fault%s", len(e.Faults), plural)
	for _, fault := range e.Faults {
		b.WriteString("\n  ")
		b.WriteString(fault.String())
	}
	return b.String()
}

// String is the fault in one line.
func (f Fault) String() string {
	name := f.Key
	switch {
	case f.Key == "":
		name = f.Env
	case f.Env != "":
		name = f.Key + " (" + f.Env + ")"
	}
	if f.Value != "" {
		name += " = " + f.Value
	}
	return name + ": " + f.Problem + "; " + f.Fix
}

// shown prepares a value for a fault: a secret becomes its length, credentials
// inside a URL are blanked, the rest is shortened and quoted.
func shown(text string, secret bool) string {
	if secret {
		return Secret(text).String()
	}
	return quoteShort(blankCredentials(text))
}

// blankCredentials hides what stands before an @ and behind a ? in anything that
// may be a URL. It works on the text, not on url.Parse, because the value is
// printed precisely when it may not parse.
func blankCredentials(text string) string {
	start := 0
	scheme := strings.Index(text, "://")
	if scheme >= 0 {
		start = scheme + len("://")
	}
	at := strings.LastIndexByte(text, '@')
	if at >= 0 {
		text = text[:min(start, at)] + "***" + text[at:]
	}
	if end := strings.IndexAny(text, "?#"); scheme >= 0 && end >= 0 {
		text = text[:end+1] + "***"
	}
	return text
}

// quoteShort quotes at most shownBytes of text without cutting a rune.
func quoteShort(text string) string {
	if len(text) <= shownBytes {
		return strconv.Quote(text)
	}
	end := shownBytes
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strconv.Quote(text[:end]) + "..."
}

// shownKey leaves a plain key as it is and quotes one that could break the line.
func shownKey(path string) string {
	odd := strings.IndexFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' })
	if path == "" || odd >= 0 || len(path) > shownBytes {
		return quoteShort(path)
	}
	return path
}

// nearest returns the known name closest to name, or "" when none is close
// enough to be what was meant.
func nearest(name string, known []string) string {
	// A longer name is no slip of the pen and not worth the comparison.
	if len(name) > shownBytes {
		return ""
	}
	// A key in the wrong section, if only one section has such a key.
	last := lastPart(name, ".")
	same := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasSuffix(k, "."+last) })
	if len(same) == 1 {
		return same[0]
	}
	// The name's own part decides how many slips it may hold: of three letters,
	// two changed make another word, however long the section before it.
	best, least := "", 1+max(1, len(lastPart(last, "__"))/3)
	for _, candidate := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// lastPart is what stands behind the last separator, or all where there is none.
func lastPart(name, separator string) string {
	return name[strings.LastIndex(separator+name, separator):]
}

// editDistance is Levenshtein's, one row at a time.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// didYouMean is the fix for an unknown name, from what nearest returned.
func didYouMean(guess string) string {
	if guess == "" {
		return "remove it"
	}
	return "did you mean " + guess + "?"
}

// oneOf is the fix for a value outside a closed set; it names the member that
// differs in case only, if there is one.
func oneOf(value string, allowed []string) string {
	at := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, value) })
	if at >= 0 {
		return "write it as " + allowed[at]
	}
	return "want one of " + strings.Join(allowed, ", ")
}
