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

// redirectLibraryLogs sends the log lines of go-redis, OpenTelemetry and net/http
// to the program's logger. These libraries have global loggers only.
func redirectLibraryLogs(logger *logrus.Logger) {
	log.SetFlags(0) // the logger adds the time
	log.SetOutput(transportLog{logger})
	redis.SetLogger(redisLog{logger})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.WithField("component", "opentelemetry").WithError(err).Warn("telemetry")
	}))
	otel.SetLogger(logr.New(telemetryLog{logger}))
}

// transportLog logs the lines of http.Transport without quoted text. The
// transport quotes unexpected bytes of a backend, which can contain the
// credentials of a request.
type transportLog struct{ log *logrus.Logger }

func (w transportLog) Write(line []byte) (int, error) {
	w.log.WithField("component", "http").Debug(middleware.Redact(strings.TrimSpace(string(line))))
	return len(line), nil
}

// redisLog logs at debug level, because every error also fails a request or a
// probe, which is logged.
type redisLog struct{ log *logrus.Logger }

func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.log.WithField("component", "redis").Debugf(format, v...)
}

// telemetryLog logs the messages of OpenTelemetry, which are constants. It omits
// values and errors, because they quote invalid OTEL_* variables, which can
// contain the collector's credentials. It implements [logr.LogSink].
type telemetryLog struct{ log *logrus.Logger }

// warnings is OpenTelemetry's verbosity of warnings. Higher ones are for
// debugging the SDK.
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
