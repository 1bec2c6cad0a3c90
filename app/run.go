package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"

	"tyk_proxy/app/config"
	"tyk_proxy/app/config/dotenv"
	"tyk_proxy/telemetry/logging"
)

// healthcheckTimeout bounds the -healthcheck probe.
const healthcheckTimeout = 3 * time.Second

// logGrace is how long the last log lines may take at the end.
const logGrace = time.Second

// Options are what the command line says.
type Options struct {
	ConfigPath string // "" means the defaults
	UseEnv     bool   // TYK_PROX_* override the file
	Embedded   bool   // everything in one process
	Stdout     io.Writer
	Stderr     io.Writer // log lines
}

// Run runs the program until a signal arrives. It returns nil after a clean
// stop. With Embedded and UseEnv, it takes the variables of .env too, so that it
// has the secret that token_gen finds.
func Run(ctx context.Context, o Options, signals <-chan os.Signal) error {
	if o.Embedded && o.UseEnv {
		if err := dotenv.Read(); err != nil {
			return err
		}
	}
	cfg, warnings, err := config.Load(o.ConfigPath, o.UseEnv)
	if err != nil {
		return err
	}
	logger, lines, err := logging.New(o.Stderr, logging.Config{
		Level: cfg.Log.Level, Format: cfg.Log.Format, Colored: cfg.Log.Colored,
	})
	if err != nil {
		return err
	}
	defer closeLog(ctx, lines)
	redirectLibraryLogs(logger)
	for _, warning := range warnings {
		logger.Warn(warning)
	}
	if !o.Embedded {
		return serve(ctx, cfg, logger, signals)
	}
	embedded, err := StartEmbedded(ctx, cfg)
	if err != nil {
		return err
	}
	defer embedded.Close()
	return embedded.serve(ctx, logger, o.Stdout, signals)
}

// closeLog writes the last lines. It does not wait long for a reader that does
// not read.
func closeLog(ctx context.Context, lines *logging.Writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logGrace)
	defer cancel()
	lines.Close(ctx)
}

func serve(ctx context.Context, cfg config.Config, logger *logrus.Logger, signals <-chan os.Signal) error {
	gateway, err := NewGateway(ctx, cfg, logger)
	if err != nil {
		return err
	}
	listeners, err := gateway.Listen(ctx)
	if err != nil {
		return err
	}
	return gateway.Run(ctx, listeners, signals)
}

// Healthcheck asks the gateway that a configuration describes, on this host,
// whether it is ready.
func Healthcheck(ctx context.Context, o Options) error {
	cfg, err := config.LoadValues(o.ConfigPath, o.UseEnv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Application.Port))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/ready", http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking %s: %w", address, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("asking %s: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s: %s", response.Status, body)
	}
	return nil
}
