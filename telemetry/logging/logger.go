// Package logging makes the program's one logger and the writer behind it.
//
// The [Writer] hands lines to a goroutine of its own, which writes many with one
// system call. If nobody reads the log fast enough, lines are dropped and
// counted; whoever logs never waits.
package logging

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sirupsen/logrus"

	"tyk_proxy/telemetry/names"
)

// milliseconds is RFC 3339 with milliseconds. The nanoseconds of JSON lines would
// not help a person.
const milliseconds = "2006-01-02T15:04:05.000Z07:00"

// nanoseconds is RFC 3339 with nanoseconds. Unlike time.RFC3339Nano it keeps
// zeros at the end, so that lines sort by their text.
const nanoseconds = "2006-01-02T15:04:05.000000000Z07:00"

// Config configures the program's one logger.
type Config struct {
	Level   string // debug, info, warn, error or fatal; in any case
	Format  string // json or console
	Colored bool   // console only; a pipe and NO_COLOR (no-color.org) switch it off
}

// New returns a logger that writes to out, and its writer, which the
// caller closes when nothing logs any more.
func New(out io.Writer, cfg Config) (*logrus.Logger, *Writer, error) {
	level, err := logrus.ParseLevel(strings.ToLower(cfg.Level))
	if err != nil {
		return nil, nil, fmt.Errorf("log level: %w", err)
	}
	writer := NewWriter(out)
	log := logrus.New()
	log.SetOutput(writer)
	log.SetLevel(level)
	writer.report = func(dropped int64) {
		log.WithField(string(names.AttrLogDropped), dropped).Warn("log lines were dropped: the log was not read fast enough")
	}
	if cfg.Format == "json" {
		log.SetFormatter(urgent{&logrus.JSONFormatter{TimestampFormat: nanoseconds}})
		return log, writer, nil
	}
	colored := cfg.Colored && os.Getenv("NO_COLOR") == "" && terminal(out)
	log.SetFormatter(urgent{&logrus.TextFormatter{
		FullTimestamp: true, TimestampFormat: milliseconds, ForceColors: colored, DisableColors: !colored,
	}})
	return log, writer, nil
}

// terminal reports whether lines are read by a person. logrus would look at the
// writer, which is not the file itself.
func terminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
