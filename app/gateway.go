package app

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sirupsen/logrus"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/telemetry"
)

// Version is stamped by the linker: -ldflags "-X tyk_proxy/app.Version=…".
var Version = "dev"

// maxHeaderBytes bounds a request's headers; net/http answers more with 431.
const maxHeaderBytes = 32 << 10

// Gateway is the wired program: the pipeline and the two servers around it.
type Gateway struct {
	cfg       Config
	log       *logrus.Logger
	redis     *redis.Client
	providers *telemetry.Providers

	public   *http.Server    // the pipeline, /health and /ready
	metrics  *http.Server    // /metrics
	upstream *http.Transport // the way to the backend

	draining   atomic.Bool  // /ready says no
	inFlight   atomic.Int64 // handlers that run, also of connections that were upgraded
	cancelBase context.CancelCauseFunc
}

// NewGateway wires a gateway from a configuration that LoadConfig accepted. It
// opens no socket. Call Run, which also releases what NewGateway made.
func NewGateway(ctx context.Context, cfg Config, logger *logrus.Logger) (*Gateway, error) {
	auth, err := newAuth(cfg.Application.Token)
	if err != nil {
		return nil, err
	}
	client, err := newRedis(cfg.Redis)
	if err != nil {
		return nil, err
	}
	providers, err := newTelemetry(ctx, cfg.Telemetry, client)
	if err != nil {
		return nil, err
	}
	recorder, err := providers.NewRecorder(logger, keyIDSecret(cfg))
	if err != nil {
		return nil, err
	}
	trusted, err := parseNetworks(cfg.Telemetry.TrustedProxies)
	if err != nil {
		return nil, err
	}
	g := &Gateway{cfg: cfg, log: logger, redis: client, providers: providers}
	proxy, err := g.newProxy()
	if err != nil {
		return nil, err
	}
	budget := time.Duration(cfg.Redis.Timeout)
	counter := redisstore.NewCounter(client, time.Duration(cfg.RateLimit.Window), budget, nil)
	if err := providers.ClockOffset(counter.ClockOffset); err != nil {
		return nil, err
	}
	pipeline := middleware.NewPipeline(middleware.PipelineConfig{
		Stages: []middleware.Stage{
			auth,
			middleware.NewTokenLookup(redisstore.NewTokens(client, budget), nil),
			middleware.RouteCheck{},
			middleware.NewRateLimit(counter),
		},
		Forwarder:     proxy,
		Observer:      recorder,
		TraceID:       telemetry.TraceID,
		TraceIDHeader: cfg.Telemetry.TraceIDHeader,
		WriteTimeout:  time.Duration(cfg.ServerTimeouts.WriteTimeout),
	})
	instrumented, err := providers.Server(pipeline, cfg.Application.Port, trusted)
	if err != nil {
		return nil, err
	}
	if err := g.newServers(ctx, middleware.TrustBoundary(trusted, instrumented)); err != nil {
		return nil, err
	}
	return g, nil
}

func newAuth(cfg TokenConfig) (*middleware.Auth, error) {
	var publicKey []byte
	if cfg.PublicKeyFile != "" {
		var err error
		if publicKey, err = os.ReadFile(cfg.PublicKeyFile); err != nil {
			return nil, fmt.Errorf("application.token.public_key_file: %w", err)
		}
	}
	key, err := middleware.ParseKey(cfg.Algorithm, []byte(string(cfg.JWTSecret)), publicKey)
	if err != nil {
		return nil, fmt.Errorf("application.token.public_key_file: %w", err)
	}
	return middleware.NewAuth(middleware.AuthConfig{
		Algorithm: cfg.Algorithm,
		Key:       key,
		Leeway:    time.Duration(cfg.Leeway),
	}), nil
}

func newRedis(cfg RedisConfig) (*redis.Client, error) {
	o := redisstore.Options{
		Addr:        cfg.Addr,
		Username:    cfg.Username,
		Password:    string(cfg.Password),
		DB:          cfg.DB,
		DialTimeout: time.Duration(cfg.DialTimeout),
		Timeout:     time.Duration(cfg.Timeout),
		PoolTimeout: time.Duration(cfg.PoolTimeout),
		PoolSize:    cfg.PoolSize,
	}
	if cfg.TLS {
		host, _, err := net.SplitHostPort(cfg.Addr)
		if err != nil {
			return nil, fmt.Errorf("redis.addr: %w", err)
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
		if cfg.TLSCAFile != "" {
			pem, err := os.ReadFile(cfg.TLSCAFile)
			if err != nil {
				return nil, fmt.Errorf("redis.tls_ca_file: %w", err)
			}
			o.TLS.RootCAs = x509.NewCertPool()
			if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
				return nil, errors.New("redis.tls_ca_file: holds no PEM certificate")
			}
		}
	}
	return redisstore.NewClient(o), nil
}

func newTelemetry(ctx context.Context, cfg TelemetryConfig, client *redis.Client) (*telemetry.Providers, error) {
	providers, err := telemetry.Setup(ctx, telemetry.Config{
		ServiceName: cfg.ServiceName,
		Version:     Version,
		Traces: telemetry.TracesConfig{
			Endpoint:      cfg.Traces.Endpoint,
			SampleRatio:   cfg.Traces.SampleRatio,
			SlowThreshold: time.Duration(cfg.Traces.SlowThreshold),
			KeepPerSecond: cfg.Traces.KeepPerSecond,
		},
	})
	if err != nil {
		return nil, err
	}
	return providers, providers.Redis(client)
}

// keyIDSecret returns the key of the HMAC that makes gateway.key.id. Derived
// from the JWT secret, it is the same in every gateway that accepts the same
// tokens; with a public key there is nothing secret to derive it from, and
// ids then last as long as the process.
func keyIDSecret(cfg Config) []byte {
	if secret := cfg.Telemetry.KeyIDSecret; secret != "" {
		return []byte(string(secret))
	}
	if strings.HasPrefix(cfg.Application.Token.Algorithm, "HS") {
		mac := hmac.New(sha256.New, []byte(string(cfg.Application.Token.JWTSecret)))
		mac.Write([]byte("tyk_proxy gateway.key.id"))
		return mac.Sum(nil)
	}
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	return random
}

// parseNetworks reads CIDRs; a bare address stands for itself.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("telemetry.trusted_proxies: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func (g *Gateway) newProxy() (*middleware.Proxy, error) {
	target, err := url.Parse(g.cfg.Application.TargetHost)
	if err != nil {
		return nil, fmt.Errorf("application.target_host: %w", err)
	}
	dialer := &net.Dialer{Timeout: time.Duration(g.cfg.Upstream.DialTimeout), KeepAlive: 30 * time.Second}
	g.upstream = &http.Transport{
		// No Proxy: the one backend is reached directly, whatever the environment says.
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   time.Duration(g.cfg.Upstream.DialTimeout),
		ResponseHeaderTimeout: time.Duration(g.cfg.Upstream.ResponseTimeout),
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          g.cfg.Upstream.IdleConnections,
		MaxIdleConnsPerHost:   g.cfg.Upstream.IdleConnections,
		IdleConnTimeout:       90 * time.Second,
		// The backend negotiates with the client, not with the gateway.
		DisableCompression: true,
	}
	return middleware.NewProxy(middleware.ProxyConfig{
		Target:    target,
		Transport: g.providers.Transport(g.upstream),
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
