package config

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that reads and writes as text such as "5s". It is
// a defined type and not a struct around time.Duration because cleanenv takes
// every struct for a section.
type Duration time.Duration

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }

// UnmarshalText reads the form of time.ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// MarshalText returns the text of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes whole seconds in seconds, so that "60s" stays "60s" instead of
// becoming "1m0s", and everything else as time.Duration does.
func (d Duration) String() string {
	std := time.Duration(d)
	if std%time.Second == 0 {
		return fmt.Sprintf("%ds", std/time.Second)
	}
	return std.String()
}

// Secret is a string that does not show itself when it is formatted, so that a
// Config in a log line reveals nothing. Only JSON and an explicit conversion
// carry the value.
type Secret string

// String returns the length of the secret.
func (s Secret) String() string { return fmt.Sprintf("(%d bytes)", len(s)) }

// GoString hides the secret from %#v too.
func (s Secret) GoString() string { return s.String() }
