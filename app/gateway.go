// Package app wires the gateway from its configuration and runs it.
//
// [NewGateway] makes all parts and opens no socket. From the outside to the
// inside, a request passes
//
//	tracked → probes → trust boundary → otelhttp → pipeline → upstream
//
// [Gateway.Listen] opens the public and the metrics port, and [Gateway.Run]
// serves until a signal arrives. The stop keeps an order that loses nothing:
// /ready answers 503, requests are still served while load balancers notice, the
// listener closes, requests in flight end, and the last telemetry is sent.
//
// [Run] is the whole program but for its flags. With [Options.Embedded] it also
// starts a Redis and a backend in the same process.
package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/lean"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/telemetry"
)

// Version is set by the linker: -ldflags "-X tyk_proxy/app.Version=…".
var Version = "dev"

// maxHeaderBytes limits a request's headers. net/http answers 431 if there are more.
const maxHeaderBytes = 32 << 10

// maxResponseHeaderBytes limits a response's headers. The gateway answers 502 if
// there are more. The default of net/http is 10 MiB.
const maxResponseHeaderBytes = 256 << 10

// Gateway is the pipeline and the two servers of the program.
type Gateway struct {
	cfg       config.Config
	log       *logrus.Logger
	redis     *redisstore.Client
	providers *telemetry.Providers

	public   *http.Server    // the pipeline, /health and /ready
	metrics  *http.Server    // /metrics
	upstream *lean.Transport // the transport to the backend
	proxy    *middleware.Proxy

	storeCheck singleflight.Group // concurrent probes share a check of Redis
	readiness  readiness          // the result of the last check
	draining   atomic.Bool        // /ready answers 503
	inFlight   atomic.Int64       // running handlers, upgraded connections included
	cancelBase context.CancelCauseFunc
}

// NewGateway wires a gateway from a configuration that config.Load accepted. It
// opens no socket. The caller must call Run, which also releases all resources.
func NewGateway(ctx context.Context, cfg config.Config, logger *logrus.Logger) (*Gateway, error) {
	auth, err := newAuth(cfg.Application.Token)
	if err != nil {
		return nil, err
	}
	options, err := redisOptions(cfg.Redis)
	if err != nil {
		return nil, err
	}
	options.CountOptional = cfg.RateLimit.OnError == config.OnErrorAllow
	trusted, err := parseNetworks(cfg.Telemetry.TrustedProxies)
	if err != nil {
		return nil, err
	}
	g := &Gateway{cfg: cfg, log: logger, readiness: readiness{log: logger}}
	options.Changed = g.redisChanged
	g.redis = redisstore.NewClient(options)
	if g.providers, err = newTelemetry(ctx, cfg.Telemetry, g.redis); err != nil {
		return nil, err
	}
	pipeline, err := g.newPipeline(auth) //nolint:contextcheck // the counters start at 0 outside of any request
	if err != nil {
		return nil, err
	}
	// A request passes these five handlers from top to bottom.
	handler := g.tracked(
		g.probes(
			middleware.TrustBoundary(trusted,
				g.providers.Server(cfg.Application.Port,
					pipeline))))
	if err := g.newServers(ctx, handler); err != nil {
		return nil, err
	}
	return g, nil
}

// newPipeline returns the pipeline of the five stages.
func (g *Gateway) newPipeline(auth middleware.Stage) (*middleware.Pipeline, error) {
	recorder, err := g.providers.NewRecorder(g.log, keyIDSecret(g.cfg))
	if err != nil {
		return nil, err
	}
	if g.proxy, err = g.newProxy(); err != nil {
		return nil, err
	}
	counter := redisstore.NewCounter(g.redis, time.Duration(g.cfg.RateLimit.Window), nil)
	if err := g.providers.ClockOffset(counter.ClockOffset); err != nil {
		return nil, err
	}
	return middleware.NewPipeline(middleware.PipelineConfig{
		Stages: []middleware.Stage{
			auth,
			middleware.NewTokenLookup(redisstore.NewRecords(g.redis), nil),
			middleware.RouteCheck{},
			middleware.NewRateLimit(middleware.RateLimitConfig{
				Counter: counter, FailOpen: g.cfg.RateLimit.OnError == config.OnErrorAllow,
			}),
		},
		Forwarder:     g.proxy,
		Observer:      recorder,
		TraceID:       telemetry.TraceID,
		TraceIDHeader: g.cfg.Telemetry.TraceIDHeader,
		WriteTimeout:  time.Duration(g.cfg.ServerTimeouts.WriteTimeout),
	}), nil
}

// newProxy returns the last stage, with the instrumented transport to the backend.
func (g *Gateway) newProxy() (*middleware.Proxy, error) {
	target, err := url.Parse(g.cfg.Application.TargetHost)
	if err != nil {
		return nil, fmt.Errorf("application.target_host: %w", err)
	}
	dialer := &net.Dialer{Timeout: time.Duration(g.cfg.Upstream.DialTimeout), KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		// Proxy is not set: HTTP_PROXY does not apply to the backend.
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   time.Duration(g.cfg.Upstream.DialTimeout),
		ResponseHeaderTimeout: time.Duration(g.cfg.Upstream.ResponseTimeout),
		ExpectContinueTimeout: time.Second,

		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		MaxIdleConns:           g.cfg.Upstream.IdleConnections,
		MaxIdleConnsPerHost:    g.cfg.Upstream.IdleConnections,
		IdleConnTimeout:        90 * time.Second,
		// The client and the backend negotiate compression.
		DisableCompression: true,
	}
	// The lean transport handles most requests. Others, such as upgrades, use the
	// transport of net/http.
	g.upstream = lean.New(lean.Config{Upstream: target, Fallback: transport})
	instrumented, err := g.providers.Transport(g.upstream)
	if err != nil {
		return nil, err
	}
	return middleware.NewProxy(middleware.ProxyConfig{
		Upstream:      target,
		TraceIDHeader: g.cfg.Telemetry.TraceIDHeader,
		Transport:     instrumented,
		Pseudonym:     pseudonym(g.cfg),
		MaxBodyBytes:  int64(g.cfg.Application.MaxBodyBytes),
	}), nil
}

// newServers makes the public server, which serves handler, and the metrics server.
func (g *Gateway) newServers(ctx context.Context, handler http.Handler) error {
	var certificates *tls.Config
	if m := g.cfg.Monitoring; m.Scheme == "https" {
		pair, err := tls.LoadX509KeyPair(m.TLSCertFile, m.TLSKeyFile)
		if err != nil {
			return fmt.Errorf("monitoring.tls_cert_file and tls_key_file: %w", err)
		}
		certificates = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	// Requests in flight must not end with ctx; stop ends them.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	g.cancelBase = cancel
	t := g.cfg.ServerTimeouts
	g.public = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Duration(t.ReadHeaderTimeout),
		ReadTimeout:       time.Duration(t.ReadTimeout),
		WriteTimeout:      time.Duration(t.WriteTimeout),
		IdleTimeout:       time.Duration(t.IdleTimeout),
		MaxHeaderBytes:    maxHeaderBytes,
		// The pipeline must also decide about "OPTIONS *".
		DisableGeneralOptionsHandler: true,

		ConnContext: withWatch,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    log.New(logWriter{g.log}, "", 0),
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", g.providers.Metrics)
	g.metrics = &http.Server{
		Handler:           mux,
		TLSConfig:         certificates,
		ReadHeaderTimeout: time.Duration(t.ReadHeaderTimeout),
		ReadTimeout:       time.Duration(t.ReadTimeout),
		WriteTimeout:      time.Duration(t.WriteTimeout),
		IdleTimeout:       time.Duration(t.IdleTimeout),
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(logWriter{g.log}, "", 0),
	}
	return nil
}

// logWriter logs the connection errors of net/http.
type logWriter struct{ log *logrus.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.WithField("component", "http").Debug(string(line))
	return len(line), nil
}
