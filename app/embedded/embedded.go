// Package embedded runs Redis and a backend inside the process, to try the
// gateway on a machine that has only Go.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/app/config"
	"tyk_proxy/app/mint"
	"tyk_proxy/middleware/redisstore"
)

// defaultAddr is the address of the embedded Redis, unless redis.addr is a
// loopback address. It is token-gen's default.
const defaultAddr = "127.0.0.1:6379"

// The limit and the lifetime of the demo token.
const (
	demoLimit = 10
	demoTTL   = 24 * time.Hour
)

// Servers are the embedded Redis and backend.
type Servers struct {
	cfg     config.Config
	redis   *miniredis.Miniredis
	backend *http.Server // nil if the configuration has a backend
}

// Start starts both servers. It starts no backend if application.target_host
// differs from the default, which exists only in the network of Docker Compose.
func Start(ctx context.Context, cfg config.Config) (*Servers, error) {
	e := &Servers{cfg: cfg, redis: miniredis.NewMiniRedis()}
	if !loopback(cfg.Redis.Addr) {
		e.cfg.Redis.Addr = defaultAddr
	}
	e.redis.ClockTTL(true) // by default miniredis expires keys only in FastForward
	if err := e.startRedis(); err != nil {
		return nil, err
	}
	if cfg.Application.TargetHost != config.Default().Application.TargetHost {
		return e, nil
	}
	// No other program needs the port, so it is any free one.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("starting the built-in backend: %w", err)
	}
	e.cfg.Application.TargetHost = "http://" + listener.Addr().String()
	e.backend = &http.Server{Handler: http.HandlerFunc(Whoami), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = e.backend.Serve(listener) }() // Close ends it
	return e, nil
}

// startRedis starts Redis with the user and the password of the configuration. Its
// error names the configuration key.
func (e *Servers) startRedis() error {
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

// portOf returns the port of a TCP listener.
func portOf(addr net.Addr) int {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// loopback reports whether host:port is on this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Config returns the configuration for a gateway that uses the servers.
func (e *Servers) Config() config.Config { return e.cfg }

// Close stops both servers.
func (e *Servers) Close() {
	if e.backend != nil {
		_ = e.backend.Close()
	}
	e.redis.Close()
}

// moreTokens returns a hint how to mint tokens in another terminal. It returns ""
// if token-gen cannot: it supports HS256 only, and no Redis user, password or
// database.
func (e *Servers) moreTokens(port int) string {
	r := e.cfg.Redis
	if r.Username != "" || r.Password != "" || r.DB != 0 || e.cfg.Application.Token.Algorithm != "HS256" {
		return ""
	}
	command := "make gen"
	if port != config.DefaultPort {
		command = fmt.Sprintf("GATEWAY_PORT=%d %s", port, command)
	}
	if r.Addr != defaultAddr {
		command += fmt.Sprintf(` ARGS="-redis %s"`, r.Addr)
	}
	if e.cfg.Application.Token.JWTSecret != config.DemoSecret {
		return "; `" + command + "` in another terminal mints more tokens, given the same secret"
	}
	return "; `" + command + "` in another terminal mints more tokens"
}

// Introduce writes the addresses of all servers and a command that sends a first
// request, with a new token. The addresses are those of the gateway's listeners.
func (e *Servers) Introduce(ctx context.Context, out io.Writer, public, metrics net.Addr) error {
	port, metricsPort := portOf(public), portOf(metrics)
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
	defer func() { _ = client.Close() }() // the client has no buffered data
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
