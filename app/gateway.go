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

// Version is stamped by the linker: -ldflags "-X tyk_proxy/app.Version=…".
var Version = "dev"

// maxHeaderBytes bounds a request's headers; net/http answers more with 431.
const maxHeaderBytes = 32 << 10

// maxResponseHeaderBytes bounds a response's headers; net/http's default is
// 10 MiB. More makes the answer a 502.
const maxResponseHeaderBytes = 256 << 10

// Gateway is the wired program: the pipeline and the two servers around it.
type Gateway struct {
	cfg       config.Config
	log       *logrus.Logger
	redis     *redisstore.Client
	providers *telemetry.Providers

	public   *http.Server    // the pipeline, /health and /ready
	metrics  *http.Server    // /metrics
	upstream *lean.Transport // the way to the backend

	asking     singleflight.Group // of /ready, for Redis
	readiness  readiness          // what it found last
	draining   atomic.Bool        // /ready says no
	inFlight   atomic.Int64       // handlers that run, also of connections that were upgraded
	cancelBase context.CancelCauseFunc
}

// NewGateway wires a gateway from a configuration that LoadConfig accepted. It
// opens no socket. Call Run, which also releases what NewGateway made.
func NewGateway(ctx context.Context, cfg config.Config, logger *logrus.Logger) (*Gateway, error) {
	auth, err := newAuth(cfg.Application.Token)
	if err != nil {
		return nil, err
	}
	options, err := redisOptions(cfg.Redis)
	if err != nil {
		return nil, err
	}
	g := &Gateway{cfg: cfg, log: logger, readiness: readiness{log: logger}}
	options.Changed = g.redisChanged
	g.redis = redisstore.NewClient(options)
	providers, err := newTelemetry(ctx, cfg.Telemetry, g.redis)
	if err != nil {
		return nil, err
	}
	recorder, err := providers.NewRecorder(logger, keyIDSecret(cfg)) //nolint:contextcheck // a counter at 0 belongs to no request
	if err != nil {
		return nil, err
	}
	trusted, err := parseNetworks(cfg.Telemetry.TrustedProxies)
	if err != nil {
		return nil, err
	}
	g.providers = providers
	pipeline, err := g.newPipeline(auth, recorder)
	if err != nil {
		return nil, err
	}
	instrumented, err := providers.Server(pipeline, cfg.Application.Port, trusted)
	if err != nil {
		return nil, err
	}
	if err := g.newServers(ctx, middleware.TrustBoundary(trusted, instrumented)); err != nil {
		return nil, err
	}
	return g, nil
}

// newPipeline puts the stages in their order.
func (g *Gateway) newPipeline(auth middleware.Stage, observer middleware.Observer) (*middleware.Pipeline, error) {
	proxy, err := g.newProxy()
	if err != nil {
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
		Forwarder:     proxy,
		Observer:      observer,
		TraceID:       telemetry.TraceID,
		TraceIDHeader: g.cfg.Telemetry.TraceIDHeader,
		WriteTimeout:  time.Duration(g.cfg.ServerTimeouts.WriteTimeout),
	}), nil
}

func (g *Gateway) newProxy() (*middleware.Proxy, error) {
	target, err := url.Parse(g.cfg.Application.TargetHost)
	if err != nil {
		return nil, fmt.Errorf("application.target_host: %w", err)
	}
	dialer := &net.Dialer{Timeout: time.Duration(g.cfg.Upstream.DialTimeout), KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		// No Proxy: the one backend is reached directly, whatever the environment says.
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   time.Duration(g.cfg.Upstream.DialTimeout),
		ResponseHeaderTimeout: time.Duration(g.cfg.Upstream.ResponseTimeout),
		ExpectContinueTimeout: time.Second,

		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		MaxIdleConns:           g.cfg.Upstream.IdleConnections,
		MaxIdleConnsPerHost:    g.cfg.Upstream.IdleConnections,
		IdleConnTimeout:        90 * time.Second,
		// The backend negotiates with the client, not with the gateway.
		DisableCompression: true,
	}
	g.upstream = lean.New(lean.Config{Upstream: target, Fallback: transport})
	instrumented, err := g.providers.Transport(g.upstream)
	if err != nil {
		return nil, err
	}
	return middleware.NewProxy(middleware.ProxyConfig{
		Upstream:      target,
		TraceIDHeader: g.cfg.Telemetry.TraceIDHeader,
		Transport:     instrumented,
		MaxBodyBytes:  int64(g.cfg.Application.MaxBodyBytes),
	}), nil
}

func (g *Gateway) newServers(ctx context.Context, pipeline http.Handler) error {
	var certificates *tls.Config
	if m := g.cfg.Monitoring; m.Scheme == "https" {
		pair, err := tls.LoadX509KeyPair(m.TLSCertFile, m.TLSKeyFile)
		if err != nil {
			return fmt.Errorf("monitoring.tls_cert_file and tls_key_file: %w", err)
		}
		certificates = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	// Requests in flight outlive ctx: only the stop may end them.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	g.cancelBase = cancel
	t := g.cfg.ServerTimeouts
	g.public = &http.Server{
		Handler:           g.tracked(g.probes(pipeline)),
		ReadHeaderTimeout: time.Duration(t.ReadHeaderTimeout),
		ReadTimeout:       time.Duration(t.ReadTimeout),
		WriteTimeout:      time.Duration(t.WriteTimeout),
		IdleTimeout:       time.Duration(t.IdleTimeout),
		MaxHeaderBytes:    maxHeaderBytes,
		// "OPTIONS *" is judged like every other request, not answered by net/http.
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

// logWriter passes on what net/http says about broken connections.
type logWriter struct{ log *logrus.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.WithField("component", "http").Debug(string(line))
	return len(line), nil
}
