package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
)

// LogConfig configures the program's one logger.
type LogConfig struct {
	Level   string // debug, info, warn, error or fatal; in any case
	Format  string // json or console
	Colored bool   // console only; a pipe and NO_COLOR (no-color.org) switch it off
}

// NewLogger returns a logger that writes to w.
func NewLogger(w io.Writer, cfg LogConfig) (*logrus.Logger, error) {
	level, err := logrus.ParseLevel(strings.ToLower(cfg.Level))
	if err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(level)
	if cfg.Format == "json" {
		log.SetFormatter(&logrus.JSONFormatter{})
		return log, nil
	}
	log.SetFormatter(&logrus.TextFormatter{
		FullTimestamp: true,
		DisableColors: !cfg.Colored || os.Getenv("NO_COLOR") != "",
	})
	return log, nil
}
