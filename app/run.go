package app

import (
	"context"
	"errors"
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
	"tyk_proxy/app/embedded"
	"tyk_proxy/telemetry/logging"
)

// healthcheckTimeout limits the probe of -healthcheck.
const healthcheckTimeout = 3 * time.Second

// logGrace is how long the program waits at its end for the reader of the log.
const logGrace = time.Second

// Options are the options of the command line.
type Options struct {
	ConfigPath string // "" selects the defaults
	UseEnv     bool   // TYK_PROX_* override the file
	Embedded   bool   // run Redis and a backend in the process
	Stdout     io.Writer
	Stderr     io.Writer        // log lines
	Hangups    <-chan os.Signal // SIGHUP; may be nil
}

// Run runs the program until a signal arrives. It returns nil after a clean stop.
// With Embedded and UseEnv it also reads .env, so that it has the same secret as
// token_gen.
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
	redirectLibraryLogs(logger) // before the libraries are used
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go answerHangups(ctx, o.Hangups, logger)
	for _, warning := range warnings {
		logger.Warn(warning)
	}
	if o.Embedded {
		return serveEmbedded(ctx, cfg, logger, o.Stdout, signals)
	}
	return serve(ctx, cfg, logger, func(Listeners) error { return nil }, signals)
}

// answerHangups says at each SIGHUP that settings are not read again. It returns
// when ctx ends.
func answerHangups(ctx context.Context, hangups <-chan os.Signal, logger *logrus.Logger) {
	for {
		select {
		case sig := <-hangups:
			logger.WithField("signal", sig.String()).Warn("nothing to reload yet: restart to change settings")
		case <-ctx.Done():
			return
		}
	}
}

// closeLog writes the last lines, within logGrace.
func closeLog(ctx context.Context, lines *logging.Writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logGrace)
	defer cancel()
	lines.Close(ctx)
}

// serveEmbedded starts Redis and a backend in the process, and serves.
func serveEmbedded(ctx context.Context, cfg config.Config, logger *logrus.Logger, stdout io.Writer, signals <-chan os.Signal) error {
	servers, err := embedded.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer servers.Close()
	return serve(ctx, servers.Config(), logger, func(l Listeners) error {
		return servers.Introduce(ctx, stdout, l.Public.Addr(), l.Metrics.Addr())
	}, signals)
}

// serve opens the listeners, calls opened with them and serves until a signal
// arrives.
func serve(
	ctx context.Context, cfg config.Config, logger *logrus.Logger, opened func(Listeners) error, signals <-chan os.Signal,
) error {
	gateway, err := NewGateway(ctx, cfg, logger)
	if err != nil {
		return err
	}
	listeners, err := gateway.Listen(ctx)
	if err != nil {
		return err
	}
	if err := opened(listeners); err != nil {
		// Run would close the listeners, but it has not been called.
		return errors.Join(err, listeners.Public.Close(), listeners.Metrics.Close())
	}
	return gateway.Run(ctx, listeners, signals)
}

// Healthcheck asks a gateway with this configuration on this host whether it is
// ready.
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
