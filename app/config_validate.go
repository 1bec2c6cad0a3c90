package app

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tyk_proxy/middleware"
)

// A check judges one leaf; it returns what is wrong and what would be right, or
// an empty problem.
type check func(cfg *Config) (problem, fix string)

// validate reports every leaf whose value cannot work. It looks at values only:
// the files they name are validateFiles' business, and whether a host answers
// changes while the gateway runs.
func (l *loader) validate() {
	l.validateApplication()
	l.validateTimeouts()
	l.validateStore()
	l.validateTelemetry()
	l.validateMonitoring()
}

// expect runs a check for the leaf at path. It is skipped when that leaf, or one
// it is compared with, could not be read: there the default stands in, and a
// second complaint about it would only mislead.
func (l *loader) expect(path string, judge check, comparedWith ...string) {
	if l.fileLost || l.broken[path] || slices.ContainsFunc(comparedWith, func(p string) bool { return l.broken[p] }) {
		return
	}
	problem, fix := judge(&l.cfg)
	if problem == "" {
		return
	}
	leaf := l.byPath[path]
	fault := Fault{Key: path, Value: shown(plainText(leaf.in(&l.cfg)), leaf.Secret), Problem: problem, Fix: fix}
	if l.fromEnv[path] {
		fault.Env = leaf.Env
	}
	l.faults = append(l.faults, fault)
}

func (l *loader) validateApplication() {
	const token = "application.token."
	l.expect("application.target_host", func(c *Config) (string, string) {
		return badURL(c.Application.TargetHost, baseURL, "http", "https")
	})
	l.expect("application.port", func(c *Config) (string, string) { return badPort(c.Application.Port) })
	l.expect(token+"algorithm", func(c *Config) (string, string) {
		return notIn(c.Application.Token.Algorithm, middleware.Algorithms())
	})
	l.expect(token+"jwt_secret", badSecret, token+"algorithm")
	l.expect(token+"public_key_file", badPublicKeyFile, token+"algorithm")
	l.expect(token+"leeway", func(c *Config) (string, string) {
		if d := time.Duration(c.Application.Token.Leeway); d < 0 || d > time.Minute {
			return "is out of range", "want 0s to 60s"
		}
		return "", ""
	})
}

func (l *loader) validateTimeouts() {
	for _, path := range []string{
		"server_timeouts.readHeaderTimeout", "server_timeouts.readTimeout", "server_timeouts.writeTimeout",
		"server_timeouts.idleTimeout", "server_timeouts.shutdownTimeout",
		"redis.dial_timeout", "redis.timeout",
		"upstream.dial_timeout", "upstream.response_timeout",
	} {
		l.expect(path, l.positive(path))
	}
	l.expect("server_timeouts.drainDelay", l.notNegative("server_timeouts.drainDelay"))
	l.expect("rate_limit.window", badWindow)
	l.expect("rate_limit.on_error", func(c *Config) (string, string) {
		return notIn(c.RateLimit.OnError, []string{onErrorDeny, onErrorAllow})
	})
	l.expect("upstream.response_timeout", func(c *Config) (string, string) {
		// Later than this the connection to the client is past its deadline, and
		// the 504 that explains the wait could not be written any more.
		if c.Upstream.ResponseTimeout >= c.ServerTimeouts.WriteTimeout && c.ServerTimeouts.WriteTimeout > 0 {
			return "leaves no time to answer the client",
				fmt.Sprintf("want less than server_timeouts.writeTimeout (%s)", c.ServerTimeouts.WriteTimeout)
		}
		return "", ""
	}, "server_timeouts.writeTimeout")
}

func (l *loader) validateStore() {
	l.expect("redis.addr", func(c *Config) (string, string) { return badAddress(c.Redis.Addr) })
	l.expect("redis.db", l.notNegative("redis.db"))
	l.expect("redis.tls_ca_file", func(c *Config) (string, string) {
		// Whoever names authorities expects encryption; plain text must not be
		// what they silently get.
		if c.Redis.TLSCAFile != "" && !c.Redis.TLS {
			return "is set while redis.tls is false", "set redis.tls to true, or leave it empty"
		}
		return "", ""
	}, "redis.tls")
	l.expect("upstream.idle_connections", l.positive("upstream.idle_connections"))
}

func (l *loader) validateTelemetry() {
	l.expect("telemetry.trace_id_header", func(c *Config) (string, string) { return badHeaderName(c.Telemetry.TraceIDHeader) })
	l.expect("telemetry.traces.slow_threshold", l.notNegative("telemetry.traces.slow_threshold"))
	l.expect("telemetry.traces.keep_per_second", l.notNegative("telemetry.traces.keep_per_second"))
	l.expect("telemetry.trusted_proxies", badNetworks)
	l.expect("telemetry.traces.endpoint", func(c *Config) (string, string) {
		if c.Telemetry.Traces.Endpoint == "" {
			return "", ""
		}
		return badURL(c.Telemetry.Traces.Endpoint, endpointURL, "grpc", "grpcs", "http", "https")
	})
	l.expect("telemetry.traces.sample_ratio", func(c *Config) (string, string) {
		// NaN, which a variable can say, compares false with both bounds.
		if r := c.Telemetry.Traces.SampleRatio; math.IsNaN(r) || r < 0 || r > 1 {
			return "is out of range", "want 0 to 1"
		}
		return "", ""
	})
	l.expect("log.level", func(c *Config) (string, string) {
		levels := []string{"Debug", "Info", "Warn", "Error", "Fatal"}
		if slices.ContainsFunc(levels, func(s string) bool { return strings.EqualFold(s, c.Log.Level) }) {
			return "", ""
		}
		return notIn(c.Log.Level, levels)
	})
	l.expect("log.format", func(c *Config) (string, string) {
		return notIn(c.Log.Format, []string{"json", "console"})
	})
}

func (l *loader) validateMonitoring() {
	l.expect("monitoring.ip", func(c *Config) (string, string) {
		if _, err := netip.ParseAddr(c.Monitoring.IP); err != nil {
			return "is not an IP address", "want one such as 0.0.0.0, 127.0.0.1 or ::"
		}
		return "", ""
	})
	l.expect("monitoring.scheme", func(c *Config) (string, string) {
		return notIn(c.Monitoring.Scheme, []string{"http", "https"})
	})
	l.expect("monitoring.port", func(c *Config) (string, string) { return badPort(c.Monitoring.Port) })
	l.expect("monitoring.port", func(c *Config) (string, string) {
		if p := c.Monitoring.Port; p == c.Application.Port && p != 0 {
			return "is application.port too", "give each listener a port of its own, or 0"
		}
		return "", ""
	}, "application.port")
	l.expect("monitoring.tls_cert_file", func(c *Config) (string, string) {
		return badTLSFile(c.Monitoring.Scheme, c.Monitoring.TLSCertFile)
	}, "monitoring.scheme")
	l.expect("monitoring.tls_key_file", func(c *Config) (string, string) {
		return badTLSFile(c.Monitoring.Scheme, c.Monitoring.TLSKeyFile)
	}, "monitoring.scheme")
}

// positive checks a number or a duration, wherever it stands.
func (l *loader) positive(path string) check {
	return func(c *Config) (string, string) {
		if l.byPath[path].in(c).Int() <= 0 {
			return "is not positive", "want " + l.byPath[path].wants() + " above 0"
		}
		return "", ""
	}
}

func (l *loader) notNegative(path string) check {
	return func(c *Config) (string, string) {
		if l.byPath[path].in(c).Int() < 0 {
			return "is negative", "want 0 or " + l.byPath[path].wants() + " above it"
		}
		return "", ""
	}
}
