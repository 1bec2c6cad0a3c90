package config

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"tyk_proxy/middleware"
)

// problem is what is wrong with a value and what would be right. The zero
// problem is none.
type problem struct{ what, fix string }

// when returns a problem if the condition holds.
func when(wrong bool, what, fix string) problem {
	if wrong {
		return problem{what, fix}
	}
	return problem{}
}

// expect reports the first problem of a field of the configuration.
func (l *loader) expect(field any, problems ...problem) {
	i := slices.IndexFunc(problems, func(p problem) bool { return p != problem{} })
	if i < 0 {
		return
	}
	k := l.keys[slices.IndexFunc(l.keys, func(k key) bool { return k.field == field })]
	name, value := k.path, k.shown(k.text())
	if _, set := os.LookupEnv(k.env); set && l.useEnv {
		name += " (" + k.env + ")"
	}
	switch field.(type) {
	case *int, *float64, *bool:
		value = k.text() // as it is written, without quotes
	}
	l.refuse(name, value, problems[i].what, problems[i].fix)
}

// judgeValues reports every value that cannot work. It looks at values only:
// the files that they name are for judgeFiles, and whether a host answers
// changes while the gateway runs.
func (l *loader) judgeValues() {
	l.judgeApplication(&l.cfg.Application)
	l.judgeTimeouts(&l.cfg)
	l.judgeRedis(&l.cfg.Redis)
	l.judgeTelemetry(&l.cfg.Telemetry, &l.cfg.Log)
	l.judgeMonitoring(&l.cfg.Monitoring)
}

func (l *loader) judgeApplication(a *Application) {
	l.expect(&a.TargetHost, badURL(a.TargetHost, false, "http", "https"), badLoopback(a))
	l.expect(&a.Port, badPort(a.Port))
	l.expect(&a.MaxBodyBytes, when(a.MaxBodyBytes < 0, "is negative", "want 0 or a number of bytes above it"))
	l.expect(&a.Token.Algorithm, notIn(a.Token.Algorithm, middleware.Algorithms()))
	l.expect(&a.Token.JWTSecret, blank(a.Token.JWTSecret), badSecret(a.Token))
	l.expect(&a.Token.PublicKeyFile, badPublicKeyFile(a.Token))
	l.expect(&a.Token.Leeway, when(a.Token.Leeway < 0 || a.Token.Leeway > seconds(60), "is out of range", "want 0s to 60s"))
	l.expect(&a.Token.MaxBytes, when(a.Token.MaxBytes < 1<<10 || a.Token.MaxBytes > 24<<10, "is out of range", "want 1024 to 24576"))
}

func (l *loader) judgeTimeouts(c *Config) {
	t, r, u := &c.ServerTimeouts, &c.Redis, &c.Upstream
	for _, d := range []*Duration{
		&t.ReadHeaderTimeout, &t.ReadTimeout, &t.WriteTimeout, &t.IdleTimeout, &t.ShutdownTimeout,
		&r.DialTimeout, &r.Timeout, &u.DialTimeout,
	} {
		l.expect(d, notPositive(*d))
	}
	l.expect(&t.DrainDelay, negative(t.DrainDelay))
	// The Redis key carries the window's start in Unix seconds.
	window := time.Duration(c.RateLimit.Window)
	l.expect(&c.RateLimit.Window, when(window < time.Second || window > 24*time.Hour || window%time.Second != 0,
		"is not a usable window", "want whole seconds, 1s to 24h"))
	l.expect(&c.RateLimit.OnError, notIn(c.RateLimit.OnError, []string{"deny", OnErrorAllow}))
	// Later than this the connection to the client is past its deadline, and the
	// 504 that explains the wait could not be written any more.
	l.expect(&u.ResponseTimeout, notPositive(u.ResponseTimeout),
		when(u.ResponseTimeout >= t.WriteTimeout && t.WriteTimeout > 0, "leaves no time to answer the client",
			fmt.Sprintf("want less than server_timeouts.writeTimeout (%s)", t.WriteTimeout)))
	l.expect(&u.IdleConnections, when(u.IdleConnections <= 0, "is not positive", "want a whole number above 0"))
}

func (l *loader) judgeRedis(r *Redis) {
	l.expect(&r.Addr, badAddress(r.Addr))
	l.expect(&r.Password, blank(r.Password))
	l.expect(&r.DB, when(r.DB < 0, "is negative", "want 0 or a whole number above it"))
	// Whoever names authorities expects encryption.
	l.expect(&r.TLSCAFile, when(r.TLSCAFile != "" && !r.TLS,
		"is set while redis.tls is false", "set redis.tls to true, or leave it empty"))
}

func (l *loader) judgeTelemetry(t *Telemetry, log *Log) {
	l.expect(&t.KeyIDSecret, blank(t.KeyIDSecret))
	l.expect(&t.TraceIDHeader, badHeaderName(t.TraceIDHeader))
	l.expect(&t.Traces.SlowThreshold, negative(t.Traces.SlowThreshold))
	l.expect(&t.Traces.KeepPerSecond, when(t.Traces.KeepPerSecond < 0, "is negative", "want 0 or a whole number above it"))
	l.expect(&t.TrustedProxies, badNetworks(t.TrustedProxies))
	if t.Traces.Endpoint != "" {
		l.expect(&t.Traces.Endpoint, badURL(t.Traces.Endpoint, true, "grpc", "grpcs", "http", "https"))
	}
	// NaN, which a variable can say, compares false with both bounds.
	ratio := t.Traces.SampleRatio
	l.expect(&t.Traces.SampleRatio, when(math.IsNaN(ratio) || ratio < 0 || ratio > 1, "is out of range", "want 0 to 1"))
	levels := []string{"Debug", "Info", "Warn", "Error", "Fatal"}
	if !slices.ContainsFunc(levels, func(level string) bool { return strings.EqualFold(level, log.Level) }) {
		l.expect(&log.Level, notIn(log.Level, levels))
	}
	l.expect(&log.Format, notIn(log.Format, []string{"json", "console"}))
}

func (l *loader) judgeMonitoring(m *Monitoring) {
	_, err := netip.ParseAddr(m.IP)
	l.expect(&m.IP, when(err != nil, "is not an IP address", "want one such as 0.0.0.0, 127.0.0.1 or ::"))
	l.expect(&m.Scheme, notIn(m.Scheme, []string{"http", "https"}))
	l.expect(&m.Port, badPort(m.Port), when(m.Port == l.cfg.Application.Port && m.Port != 0,
		"is application.port too", "give each listener a port of its own, or 0"))
	l.expect(&m.TLSCertFile, badTLSFile(m.Scheme, m.TLSCertFile))
	l.expect(&m.TLSKeyFile, badTLSFile(m.Scheme, m.TLSKeyFile))
}

func notPositive(d Duration) problem {
	return when(d <= 0, "is not positive", `want a duration such as "5s" above 0`)
}

func negative(d Duration) problem {
	return when(d < 0, "is negative", `want 0 or a duration such as "5s" above it`)
}

func blank(secret Secret) problem {
	return when(isBlank(secret), "is nothing but white space", "want the secret itself")
}

// isBlank reports whether a secret holds white space and nothing else.
func isBlank(secret Secret) bool { return secret != "" && strings.TrimSpace(string(secret)) == "" }
