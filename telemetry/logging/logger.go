// Package logging makes the program's logger and its asynchronous writer.
//
// The goroutine of [Writer] writes many lines with one system call. If the reader
// of the log is too slow, lines are dropped and counted. Logging never blocks.
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

// Config configures the program's logger.
type Config struct {
	Level   string // debug, info, warn, error or fatal; case is ignored
	Format  string // json or console
	Colored bool   // console only; not used for pipes or with NO_COLOR (no-color.org)
}

// New returns a logger that writes to out, and its writer. The caller must close
// the writer after the last log line.
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

// terminal reports whether out is a terminal. logrus cannot detect it, because
// its output is the Writer.
func terminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
