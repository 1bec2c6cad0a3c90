package app

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tyk_proxy/middleware"
)

// The rules below are plain questions about values. Each returns what is wrong
// and what would be right, or an empty problem.

// badSecret asks for a secret as long as the hash (RFC 7518, section 3.2): a
// shorter one is guessed offline from a single token.
func badSecret(c *Config) (problem, fix string) {
	token := c.Application.Token
	least := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[token.Algorithm]
	problem, fix = "is too short for "+token.Algorithm, fmt.Sprintf("want at least %d bytes", least)
	if !slices.Contains(middleware.Algorithms(), token.Algorithm) && token.PublicKeyFile == "" {
		// Whatever the algorithm was to be, this much can be said of its key.
		least = 32
		problem, fix = "is too short for any algorithm", "want at least 32 bytes, or a public_key_file"
	}
	if len(token.JWTSecret) >= least {
		return "", ""
	}
	return problem, fix
}

// badPublicKeyFile keeps the two kinds of keys apart: a public key next to an HS
// algorithm is how a public key comes to be used as a shared secret.
func badPublicKeyFile(c *Config) (problem, fix string) {
	token := c.Application.Token
	shared, known := strings.HasPrefix(token.Algorithm, "HS"), slices.Contains(middleware.Algorithms(), token.Algorithm)
	switch {
	case !known:
		return "", "" // the algorithm is at fault
	case shared && token.PublicKeyFile != "":
		return "is set while " + token.Algorithm + " uses a shared secret", "leave it empty"
	case !shared && token.PublicKeyFile == "":
		return "is empty", token.Algorithm + " needs the PEM file of the public key"
	default:
		return "", ""
	}
}

func badWindow(c *Config) (problem, fix string) {
	// The Redis key carries the window's start in Unix seconds.
	d := time.Duration(c.RateLimit.Window)
	if d < time.Second || d > 24*time.Hour || d%time.Second != 0 {
		return "is not a usable window", "want whole seconds, 1s to 24h"
	}
	return "", ""
}

func badNetworks(c *Config) (problem, fix string) {
	for i, network := range c.Telemetry.TrustedProxies {
		_, prefixErr := netip.ParsePrefix(network)
		_, addrErr := netip.ParseAddr(network)
		if prefixErr != nil && addrErr != nil {
			return fmt.Sprintf("element %d is not a network", i+1), "want CIDR such as 10.0.0.0/8, or an address"
		}
	}
	return "", ""
}

// badHeaderName allows the token characters of RFC 9110, section 5.6.2, that
// header names in use are made of.
func badHeaderName(name string) (problem, fix string) {
	for _, c := range name {
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "is not a header name", "want letters, digits and hyphens such as X-Trace-Id, or nothing"
		}
	}
	return "", ""
}

func badAddress(addr string) (problem, fix string) {
	const want = "want host:port such as tyk-redis:6379"
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") {
		return "is not host:port", want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "has no valid port", want
	}
	return "", ""
}

func badPort(port int) (problem, fix string) {
	if port < 0 || port > 65535 {
		return "is not a port", "want 0 to 65535"
	}
	return "", ""
}

func badTLSFile(scheme, file string) (problem, fix string) {
	switch {
	case scheme == "https" && file == "":
		return "is empty", "https needs the certificate and the key"
	case scheme == "http" && file != "":
		return "is set while monitoring.scheme is http", "leave it empty, or set the scheme to https"
	default:
		return "", ""
	}
}

func notIn(value string, allowed []string) (problem, fix string) {
	if slices.Contains(allowed, value) {
		return "", ""
	}
	return "is not known", oneOf(value, allowed)
}

// urlKind says how much of a URL may follow the host.
type urlKind int

const (
	baseURL     urlKind = iota // nothing
	endpointURL                // a path
)

// badURL names everything that is wrong with a URL. It leaves out url.Parse's own
// error, which repeats the URL and with it a password.
func badURL(text string, kind urlKind, schemes ...string) (problem, fix string) {
	fix = "want " + strings.Join(schemes, "|") + "://host:port"
	if kind == baseURL {
		fix += " and nothing behind it"
	}
	u, err := url.Parse(text)
	if err != nil {
		return "is not a URL", fix
	}
	var problems []string
	blame := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, text)
		}
	}
	port, portErr := strconv.ParseUint(u.Port(), 10, 16)
	blame(!slices.Contains(schemes, u.Scheme), "has the wrong scheme")
	blame(u.Hostname() == "", "has no host")
	blame(strings.HasSuffix(u.Host, ":") || u.Port() != "" && (portErr != nil || port == 0), "has no valid port")
	blame(strings.HasPrefix(u.Scheme, "grpc") && u.Port() == "", "has no port")
	blame(u.User != nil, "carries credentials")
	blame(kind == baseURL && u.Path != "" && u.Path != "/", "has a path")
	blame(u.RawQuery != "" || u.ForceQuery, "has a query")
	blame(strings.Contains(text, "#"), "has a fragment")
	return strings.Join(problems, ", "), fix
}
