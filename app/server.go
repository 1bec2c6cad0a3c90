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

// flushTimeout limits the export of the last spans at the shutdown.
const flushTimeout = 5 * time.Second

// handlerGrace is how long stop waits for handlers whose connections it closed,
// and handlerPoll is how often it checks.
const (
	handlerGrace = time.Second
	handlerPoll  = 5 * time.Millisecond
)

// streamGrace is how long streams have to end by themselves when nothing else is
// in flight.
const streamGrace = 2 * time.Second

// metricsGrace is how long stop waits for a running scrape.
const metricsGrace = time.Second

// Listeners are the two listeners of a gateway.
type Listeners struct {
	Public  net.Listener
	Metrics net.Listener
}

// Listen opens both listeners. Its error names the configuration key.
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

// listen opens a TCP listener. key is the configuration key of the port.
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

// Run serves until a signal arrives or ctx ends, and then stops gracefully. After
// SIGTERM, which orchestrators send, it waits for the drain delay first. After
// any other signal, such as SIGINT, it does not. A second signal ends all waits.
func (g *Gateway) Run(ctx context.Context, listeners Listeners, signals <-chan os.Signal) error {
	// The first requests then find open connections. If Redis is down, Open returns
	// when the dial fails.
	_ = g.redis.Open(ctx)         // checkStore logs the error
	failed := make(chan error, 2) // has room for both servers, so that none blocks
	var serving sync.WaitGroup
	defer serving.Wait() // a listener is closed when its Serve has returned
	serving.Go(func() { failed <- g.public.Serve(watchedListener{listeners.Public}) })
	serving.Go(func() { failed <- g.serveMetrics(listeners.Metrics) })
	g.log.WithField("gateway", listeners.Public.Addr().String()).
		WithField("metrics", listeners.Metrics.Addr().String()).
		WithField("version", Version).Info("serving")
	// The log has the first result even if no probe asks /ready.
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

// serveMetrics serves /metrics with TLS if it is configured.
func (g *Gateway) serveMetrics(listener net.Listener) error {
	if g.cfg.Monitoring.Scheme == "https" {
		return g.metrics.ServeTLS(listener, "", "") // the certificate is in its TLSConfig
	}
	return g.metrics.Serve(listener)
}

// stop ends the gateway without losing requests: /ready answers 503; requests are
// served during the drain delay; the listener closes and the requests in flight
// end; upgraded connections are closed, then those to Redis and to the backend;
// telemetry is last, because it must export the spans of the last requests. A
// second signal ends all waits.
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
		// If the collector is down, the stop still counts as clean.
		g.log.WithError(err).Warn("telemetry was not flushed completely")
	}
	if err := errors.Join(errs...); err != nil {
		g.log.WithError(err).Error("stopped, not cleanly")
		return err
	}
	g.log.Info("stopped")
	return nil
}

// closePublic closes the listener and waits for the requests in flight. After the
// shutdown timeout it aborts them. Its error has their number. Streams are closed
// soon after the last request has ended, and are no error.
func (g *Gateway) closePublic(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, time.Duration(g.cfg.ServerTimeouts.ShutdownTimeout))
	defer cancel()
	go g.endAtStreams(grace, cancel)
	var cut error
	err := g.public.Shutdown(grace)
	open := g.proxy.Streams()
	if err != nil {
		// Shutdown also waits for connections without a request, which do not count.
		if n := g.inFlight.Load() - open.Endless - open.Unsized - open.Upgraded; n > 0 {
			cut = fmt.Errorf("requests were cut off (%d): %w", n, err)
		}
	}
	if open != (middleware.OpenStreams{}) {
		g.log.WithField("streams", open.Endless+open.Unsized).WithField("upgraded", open.Upgraded).
			Info("closing streams and upgraded connections")
	}
	// Requests without a response are answered 503. Streams and upgraded
	// connections, which Shutdown ignores, are closed.
	g.cancelBase(middleware.ErrShuttingDown)
	g.waitForHandlers()
	_ = g.public.Close()
	return cut
}

// endAtStreams calls end if nothing but endless streams and upgraded connections
// was in flight for streamGrace. They would use up the rest of the time. It returns
// when ctx ends.
func (g *Gateway) endAtStreams(ctx context.Context, end context.CancelFunc) {
	ticker := time.NewTicker(handlerPoll)
	defer ticker.Stop()
	last := time.Now() // when something else was in flight
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			open := g.proxy.Streams()
			if open.Endless == 0 || g.inFlight.Load() > open.Endless+open.Upgraded {
				last = now
			} else if now.Sub(last) >= streamGrace {
				end()
				return
			}
		}
	}
}

// waitForHandlers waits at most handlerGrace until all handlers have returned, so
// that their spans are exported.
func (g *Gateway) waitForHandlers() {
	for deadline := time.Now().Add(handlerGrace); g.inFlight.Load() > 0; time.Sleep(handlerPoll) {
		if time.Now().After(deadline) {
			g.log.Warn("some requests did not end in time")
			return
		}
	}
}

// closeMetrics has a separate timeout, so that a slow scraper does not use the
// time for exporting the last spans.
func (g *Gateway) closeMetrics(ctx context.Context) {
	grace, cancel := context.WithTimeout(ctx, metricsGrace)
	defer cancel()
	if g.metrics.Shutdown(grace) != nil {
		_ = g.metrics.Close() // an aborted scrape loses nothing else
	}
}

// tracked counts running handlers, because http.Server.Shutdown does not wait for
// upgraded connections. While the gateway drains, it makes clients reconnect.
func (g *Gateway) tracked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.inFlight.Add(1)
		defer g.inFlight.Add(-1)
		middleware.CloseAfter(w, r, lengthInDoubt(r))
		// An upgrade needs "Connection: Upgrade". Its connection is closed at the end.
		if g.draining.Load() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
