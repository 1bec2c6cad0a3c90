package logging

import (
	"bytes"
	"regexp"
	"testing"
	"time"
)

// The time of a line has fractions of a second, and RFC 3339 reads it.
func TestLogTimes(t *testing.T) {
	for format, want := range map[string]*regexp.Regexp{
		"console": regexp.MustCompile(`time="(\S+T\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d))"`),
		"json":    regexp.MustCompile(`"time":"(\S+T\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d))"`),
	} {
		var out bytes.Buffer
		log, writer, err := New(&out, Config{Level: "info", Format: format})
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now().Truncate(time.Millisecond)
		log.Info("line")
		writer.Close(t.Context())
		found := want.FindSubmatch(out.Bytes())
		if found == nil {
			t.Fatalf("%s: %q does not match %s", format, out.String(), want)
		}
		if at, err := time.Parse(time.RFC3339, string(found[1])); err != nil || at.Before(before) || at.After(time.Now()) {
			t.Errorf("%s: the time is %s, %v; want one from %s to now", format, at, err, before)
		}
	}
}
