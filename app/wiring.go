package app

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/telemetry"
)

// newAuth returns the stage that verifies tokens. It reads the public key file.
func newAuth(cfg config.Token) (*middleware.Auth, error) {
	key, err := cfg.Key()
	if err != nil {
		return nil, fmt.Errorf("application.token.public_key_file: %w", err)
	}
	return middleware.NewAuth(middleware.AuthConfig{
		Algorithm: cfg.Algorithm,
		Key:       key,
		Leeway:    time.Duration(cfg.Leeway),
		MaxBytes:  cfg.MaxBytes,
	}), nil
}

// redisOptions returns the options of the Redis client. It reads the CA file.
func redisOptions(cfg config.Redis) (redisstore.Options, error) {
	o := redisstore.Options{
		Addr:        cfg.Addr,
		Username:    cfg.Username,
		Password:    string(cfg.Password),
		DB:          cfg.DB,
		DialTimeout: time.Duration(cfg.DialTimeout),
		Timeout:     time.Duration(cfg.Timeout),

		ClientSideCache: cfg.ClientSideCache,
	}
	if cfg.TLS {
		host, _, err := net.SplitHostPort(cfg.Addr)
		if err != nil {
			return o, fmt.Errorf("redis.addr: %w", err)
		}
		// Redis must have a certificate for the host of redis.addr.
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
		if cfg.TLSCAFile != "" {
			if o.TLS.RootCAs, err = config.ReadCertificates(cfg.TLSCAFile); err != nil {
				return o, fmt.Errorf("redis.tls_ca_file: %w", err)
			}
		}
	}
	return o, nil
}

// newTelemetry returns the telemetry providers. It also instruments the Redis
// client, whose statistics become metrics.
func newTelemetry(ctx context.Context, cfg config.Telemetry, client *redisstore.Client) (*telemetry.Providers, error) {
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
	instrument, err := providers.Redis(client.Traced())
	if err != nil {
		return nil, err
	}
	client.SetInstrument(instrument)
	return providers, providers.RedisPipeline(func() telemetry.PipelineStats {
		return telemetry.PipelineStats(client.Stats())
	})
}

// keyIDSecret returns the key of the HMAC for gateway.key.id. By default it is
// derived from the JWT secret, so that all gateways with the same secret make
// the same ids. A public key is not secret: then the key is random, and the ids
// are valid until the process ends.
func keyIDSecret(cfg config.Config) []byte {
	if secret := cfg.Telemetry.KeyIDSecret; secret != "" {
		return []byte(string(secret))
	}
	if strings.HasPrefix(cfg.Application.Token.Algorithm, "HS") {
		mac := hmac.New(sha256.New, []byte(string(cfg.Application.Token.JWTSecret)))
		mac.Write([]byte("tyk_proxy gateway.key.id"))
		return mac.Sum(nil)
	}
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // crypto/rand.Read never returns an error
	return random
}

// pseudonym names the gateway in the Via field. Gateways with the same secret and
// the same backend share it, because a loop may lead through several of them: a
// target_host that is their own load balancer. It differs from that of a gateway
// in front of another one, which forwards to another host and is no loop. A
// backend cannot learn the host's name from it.
func pseudonym(cfg config.Config) string {
	mac := hmac.New(sha256.New, keyIDSecret(cfg))
	mac.Write([]byte("tyk_proxy Via " + cfg.Application.TargetHost))
	return "tyk_proxy-" + hex.EncodeToString(mac.Sum(nil)[:8])
}

// parseNetworks parses CIDRs and single addresses.
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
