package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"tyk_proxy/middleware"
)

// flushTimeout bounds how long the last telemetry may take at the end.
const flushTimeout = 5 * time.Second

// handlerGrace is how long handlers get to notice that their connection was
// closed, before telemetry is flushed without them; they are asked that often.
const (
	handlerGrace = time.Second
	handlerPoll  = 5 * time.Millisecond
)

// metricsGrace is how long a scrape that is under way may take at the end.
const metricsGrace = time.Second

// Listeners are the two open sockets of a gateway.
type Listeners struct {
	Public  net.Listener
	Metrics net.Listener
}

// Listen opens both sockets. Its error names the key and the address.
func (g *Gateway) Listen(ctx context.Context) (Listeners, error) {
	public, err := listen(ctx, "application.port", "", g.cfg.Application.Port)
	if err != nil {
		return Listeners{}, err
	}
	metrics, err := listen(ctx, "monitoring.port", g.cfg.Monitoring.IP, g.cfg.Monitoring.Port)
	if err != nil {
		return Listeners{}, errors.Join(err, public.Close())
	}
	return Listeners{Public: public, Metrics: metrics}, nil
}

func listen(ctx context.Context, key, host string, port int) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: port %d is already in use: stop what uses it or choose another port", key, port)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return listener, nil
}

// Run serves until a signal arrives, then stops in order. SIGTERM is what an
// orchestrator sends: it gets the drain delay. Any other signal, such as
// Ctrl-C, starts the stop at once. A second signal ends everything at once.
func (g *Gateway) Run(ctx context.Context, listeners Listeners, signals <-chan os.Signal) error {
	// The first requests find the connections open. A Redis that is away holds the
	// start up for no longer than it takes to find out.
	_ = g.redis.Open(ctx) // checkStore tells
	failed := make(chan error, 2)
	var serving sync.WaitGroup
	defer serving.Wait() // a listener is closed for certain only when its Serve has returned
	serving.Go(func() { failed <- g.public.Serve(watchedListener{listeners.Public}) })
	serving.Go(func() { failed <- g.serveMetrics(listeners.Metrics) })
	g.log.WithField("gateway", listeners.Public.Addr().String()).
		WithField("metrics", listeners.Metrics.Addr().String()).
		WithField("version", Version).Info("serving")
	// Nobody may ever ask /ready; the log says at least how it was at the start.
	serving.Go(func() { _ = g.checkStore(ctx) })
	select {
	case err := <-failed:
		g.log.WithError(err).Error("a listener failed")
		return errors.Join(err, g.stop(ctx, 0, signals))
	case <-ctx.Done():
		return g.stop(context.WithoutCancel(ctx), 0, signals)
	case sig := <-signals:
		delay := time.Duration(0)
		if sig == syscall.SIGTERM {
			delay = time.Duration(g.cfg.ServerTimeouts.DrainDelay)
		}
		g.log.WithField("signal", sig.String()).WithField("drain_delay", delay.String()).Info("stopping")
		return g.stop(ctx, delay, signals)
	}
}

func (g *Gateway) serveMetrics(listener net.Listener) error {
	if g.cfg.Monitoring.Scheme == "https" {
		return g.metrics.ServeTLS(listener, "", "") // its TLSConfig has the certificate
	}
	return g.metrics.Serve(listener)
}

// stop ends the gateway in the one order that loses nothing: not ready; still
// serving while load balancers notice; listeners closed and requests in flight
// finished; upgraded connections closed; Redis and backend; telemetry last, so
// that it has the spans of the last requests. A second signal ends every wait.
func (g *Gateway) stop(ctx context.Context, drainDelay time.Duration, signals <-chan os.Signal) error {
	g.draining.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-signals:
			g.log.Warn("second signal: stopping at once")
			cancel()
		case <-ctx.Done():
		}
	}()
	select {
	case <-time.After(drainDelay):
	case <-ctx.Done():
	}
	errs := []error{g.closePublic(ctx), g.redis.Close()}
	g.upstream.CloseIdleConnections()
	g.closeMetrics(ctx)
	flush, cancelFlush := context.WithTimeout(ctx, flushTimeout)
	defer cancelFlush()
	if err := g.providers.Shutdown(flush); err != nil {
		// A collector that is down must not make a clean stop look like a failure.
		g.log.WithError(err).Warn("telemetry was not flushed completely")
	}
	if err := errors.Join(errs...); err != nil {
		g.log.WithError(err).Error("stopped, not cleanly")
		return err
	}
	g.log.Info("stopped")
	return nil
}

// closePublic closes the listener, lets the requests in flight end and cuts
// those that do not. Its error says how many.
func (g *Gateway) closePublic(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, time.Duration(g.cfg.ServerTimeouts.ShutdownTimeout))
	defer cancel()
	var cut error
	if err := g.public.Shutdown(grace); err != nil {
		// Connections on which no request has begun hold Shutdown as well, but
		// nothing is lost with them.
		if n := g.inFlight.Load(); n > 0 {
			cut = fmt.Errorf("requests were cut off (%d): %w", n, err)
		}
	}
	// What is left has had its time: requests are answered 503, streams and
	// upgraded connections, which Shutdown does not know, are closed.
	g.cancelBase(middleware.ErrShuttingDown)
	g.waitForHandlers()
	_ = g.public.Close()
	return cut
}

func (g *Gateway) waitForHandlers() {
	for deadline := time.Now().Add(handlerGrace); g.inFlight.Load() > 0; time.Sleep(handlerPoll) {
		if time.Now().After(deadline) {
			g.log.Warn("some requests did not end in time")
			return
		}
	}
}

// closeMetrics has a limit of its own: a scraper that does not read must not
// use up the time in which the last spans are sent.
func (g *Gateway) closeMetrics(ctx context.Context) {
	grace, cancel := context.WithTimeout(ctx, metricsGrace)
	defer cancel()
	if g.metrics.Shutdown(grace) != nil {
		_ = g.metrics.Close() // the next scrape finds nobody anyway
	}
}

// tracked counts handlers, since http.Server.Shutdown forgets connections that
// were upgraded, and asks clients to leave while the gateway drains.
func (g *Gateway) tracked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.inFlight.Add(1)
		defer g.inFlight.Add(-1)
		middleware.CloseAfter(w, r, lengthInDoubt(r))
		// An upgraded connection is closed at the end; "close" beside the upgrade's
		// own Connection header would contradict it.
		if g.draining.Load() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
