package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/sirupsen/logrus"

	"tyk_proxy/app/config"
	"tyk_proxy/app/mint"
	"tyk_proxy/middleware/redisstore"
)

// embeddedRedis is where the embedded Redis listens, unless redis.addr is a
// loopback address itself: where token-gen looks by default.
const embeddedRedis = "127.0.0.1:6379"

// The demo token that an embedded run mints.
const (
	demoLimit = 10
	demoTTL   = 24 * time.Hour
)

// Embedded is Redis and a backend inside this process, for a first look on a
// machine that has nothing but Go.
type Embedded struct {
	cfg     config.Config
	redis   *miniredis.Miniredis
	backend *http.Server // nil where the configuration names a backend of its own
}

// StartEmbedded starts them. All else of the configuration is honoured;
// application.target_host is replaced only where it is the default, which
// exists in the compose network alone.
func StartEmbedded(ctx context.Context, cfg config.Config) (*Embedded, error) {
	e := &Embedded{cfg: cfg, redis: miniredis.NewMiniRedis()}
	if !loopback(cfg.Redis.Addr) {
		e.cfg.Redis.Addr = embeddedRedis
	}
	e.redis.ClockTTL(true)
	if err := e.startRedis(); err != nil {
		return nil, err
	}
	if cfg.Application.TargetHost != config.Default().Application.TargetHost {
		return e, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("starting the built-in backend: %w", err)
	}
	e.cfg.Application.TargetHost = "http://" + listener.Addr().String()
	e.backend = &http.Server{Handler: http.HandlerFunc(Whoami), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = e.backend.Serve(listener) }() // ends with Close
	return e, nil
}

func (e *Embedded) startRedis() error {
	redisCfg := e.cfg.Redis
	switch {
	case redisCfg.TLS:
		return errors.New("redis.tls: the embedded Redis speaks plain TCP: set it to false with -embedded")
	case redisCfg.Username != "":
		e.redis.RequireUserAuth(redisCfg.Username, string(redisCfg.Password))
	case redisCfg.Password != "":
		e.redis.RequireAuth(string(redisCfg.Password))
	}
	err := e.redis.StartAddr(redisCfg.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("redis.addr: %s is already in use: stop the Redis that uses it, "+
			"or give the embedded one another loopback address", redisCfg.Addr)
	}
	if err != nil {
		return fmt.Errorf("redis.addr: starting the embedded Redis: %w", err)
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close stops both.
func (e *Embedded) Close() {
	if e.backend != nil {
		_ = e.backend.Close()
	}
	e.redis.Close()
}

func (e *Embedded) serve(ctx context.Context, logger *logrus.Logger, out io.Writer, signals <-chan os.Signal) error {
	gateway, err := NewGateway(ctx, e.cfg, logger)
	if err != nil {
		return err
	}
	listeners, err := gateway.Listen(ctx)
	if err != nil {
		return err
	}
	if err := e.introduce(ctx, listeners, out); err != nil {
		return errors.Join(err, listeners.Public.Close(), listeners.Metrics.Close())
	}
	return gateway.Run(ctx, listeners, signals)
}

// moreTokens says how to mint a token from another terminal, where that is
// possible: token-gen signs with HS256 and knows neither users nor databases.
func (e *Embedded) moreTokens(port int) string {
	r := e.cfg.Redis
	if r.Username != "" || r.Password != "" || r.DB != 0 || e.cfg.Application.Token.Algorithm != "HS256" {
		return ""
	}
	command := "make gen"
	if port != config.DefaultPort {
		command = fmt.Sprintf("GATEWAY_PORT=%d %s", port, command)
	}
	if r.Addr != embeddedRedis {
		command += fmt.Sprintf(` ARGS="-redis %s"`, r.Addr)
	}
	if e.cfg.Application.Token.JWTSecret != config.DemoSecret {
		return "; `" + command + "` in another terminal mints more tokens, given the same secret"
	}
	return "; `" + command + "` in another terminal mints more tokens"
}

// introduce says where things are and how to send a first request.
func (e *Embedded) introduce(ctx context.Context, listeners Listeners, out io.Writer) error {
	port := listeners.Public.Addr().(*net.TCPAddr).Port         //nolint:forcetypeassert // Listen asked for TCP
	metricsPort := listeners.Metrics.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // the same
	fmt.Fprintf(out, "gateway   http://localhost:%d   (/health, /ready)\n", port)
	fmt.Fprintf(out, "metrics   %s://localhost:%d/metrics\n", e.cfg.Monitoring.Scheme, metricsPort)
	fmt.Fprintf(out, "redis     %s   (embedded%s)\n", e.cfg.Redis.Addr, e.moreTokens(port))
	if e.backend != nil {
		fmt.Fprintf(out, "backend   %s   (built in)\n", e.cfg.Application.TargetHost)
	} else {
		fmt.Fprintf(out, "backend   %s\n", e.cfg.Application.TargetHost)
	}
	if e.cfg.Application.Token.Algorithm != "HS256" {
		fmt.Fprintf(out, "\nNo demo token: it would be signed with HS256, not %s.\n", e.cfg.Application.Token.Algorithm)
		return nil
	}
	client := redis.NewClient(&redis.Options{
		Addr: e.cfg.Redis.Addr, Username: e.cfg.Redis.Username, Password: string(e.cfg.Redis.Password), DB: e.cfg.Redis.DB,
	})
	defer func() { _ = client.Close() }() // nothing is buffered
	minted, err := mint.New(ctx, client, mint.Request{
		Prefix: redisstore.RecordPrefix,
		Secret: string(e.cfg.Application.Token.JWTSecret),
		Limit:  demoLimit,
		Routes: mint.DefaultRoutes(),
		TTL:    demoTTL,
		Now:    time.Now(),
	})
	if err != nil {
		return fmt.Errorf("minting the demo token: %w", err)
	}
	fmt.Fprintf(out, "\nA demo token, %d requests in %s, for you to try (paste it more than %d times):\n\n  %s\n\n",
		demoLimit, e.cfg.RateLimit.Window, demoLimit, minted.CurlExample(fmt.Sprintf("http://localhost:%d", port)))
	fmt.Fprintln(out, "Ctrl-C stops everything.")
	return nil
}
