package app

import (
	"context"
	"log"
	"strings"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"

	"tyk_proxy/middleware"
)

// redirectLibraryLogs sends what go-redis, OpenTelemetry and net/http would
// print on their own to the program's one logger. All offer only a global hook.
func redirectLibraryLogs(logger *logrus.Logger) {
	log.SetFlags(0) // the logger has the time
	log.SetOutput(transportLog{logger})
	redis.SetLogger(redisLog{logger})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.WithField("component", "opentelemetry").WithError(err).Warn("telemetry")
	}))
	otel.SetLogger(logr.New(telemetryLog{logger}))
}

// transportLog takes what net/http's transport says about backends, which is
// without what it quotes: the bytes of a backend that sends more than it
// announced, and may repeat a request's credentials.
type transportLog struct{ log *logrus.Logger }

func (w transportLog) Write(line []byte) (int, error) {
	w.log.WithField("component", "http").Debug(middleware.Redact(strings.TrimSpace(string(line))))
	return len(line), nil
}

// redisLog is at debug level: every error it would report also ends a request
// or a probe, which says so itself.
type redisLog struct{ log *logrus.Logger }

func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.log.WithField("component", "redis").Debugf(format, v...)
}

// telemetryLog takes what OpenTelemetry says about itself: its messages, which
// are constants. Their values and errors are left out, since they quote the
// OTEL_* variables that could not be read, and with them a collector's
// credentials. It implements [logr.LogSink].
type telemetryLog struct{ log *logrus.Logger }

// warnings is OpenTelemetry's verbosity for warnings; what is more verbose is
// about its inner life.
const warnings = 1

func (telemetryLog) Init(logr.RuntimeInfo) {}

func (telemetryLog) Enabled(verbosity int) bool { return verbosity <= warnings }

func (l telemetryLog) Info(_ int, message string, _ ...any) {
	l.log.WithField("component", "opentelemetry").Warn(message)
}

func (l telemetryLog) Error(_ error, message string, _ ...any) {
	l.log.WithFields(logrus.Fields{
		"component": "opentelemetry",
		"hint":      "check OTEL_EXPORTER_OTLP_HEADERS and the other OTEL_* variables; their values are not shown",
	}).Warn(message)
}

func (l telemetryLog) WithValues(...any) logr.LogSink { return l }

func (l telemetryLog) WithName(string) logr.LogSink { return l }
