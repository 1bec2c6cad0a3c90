package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tyk_proxy/middleware"
)

// badSecret asks for a secret as long as the hash (RFC 7518, section 3.2): a
// shorter one is guessed offline from a single token.
func badSecret(token Token) problem {
	least, name := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[token.Algorithm], token.Algorithm
	if token.PublicKeyFile == "" && !slices.Contains(middleware.Algorithms(), token.Algorithm) {
		least, name = 32, "any algorithm" // the algorithm is refused too
	}
	return when(len(token.JWTSecret) < least, "is too short for "+name, fmt.Sprintf("want at least %d bytes", least))
}

// badPublicKeyFile keeps the two kinds of keys apart: a public key next to an HS
// algorithm is how a public key comes to be used as a shared secret.
func badPublicKeyFile(token Token) problem {
	shared := strings.HasPrefix(token.Algorithm, "HS")
	switch {
	case !slices.Contains(middleware.Algorithms(), token.Algorithm):
		return problem{} // the algorithm is at fault
	case shared:
		return when(token.PublicKeyFile != "", "is set while "+token.Algorithm+" uses a shared secret", "leave it empty")
	default:
		return when(token.PublicKeyFile == "", "is empty", token.Algorithm+" needs the PEM file of the public key")
	}
}

func badNetworks(networks []string) problem {
	for i, network := range networks {
		_, prefixErr := netip.ParsePrefix(network)
		_, addrErr := netip.ParseAddr(network)
		if prefixErr != nil && addrErr != nil {
			return problem{fmt.Sprintf("element %d is not a network", i+1), "want CIDR such as 10.0.0.0/8, or an address"}
		}
	}
	return problem{}
}

// badHeaderName allows the token characters of RFC 9110, section 5.6.2, that
// header names in use are made of.
func badHeaderName(name string) problem {
	odd := strings.IndexFunc(name, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
	return when(odd >= 0, "is not a header name", "want letters, digits and hyphens such as X-Trace-Id, or nothing")
}

func badAddress(addr string) problem {
	const want = "want host:port such as tyk-redis:6379"
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") {
		return problem{"is not host:port", want}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return when(err != nil || n == 0, "has no valid port", want)
}

func badPort(port int) problem {
	return when(port < 0 || port > 65535, "is not a port", "want 0 to 65535")
}

func badTLSFile(scheme, file string) problem {
	if scheme == "https" {
		return when(file == "", "is empty", "https needs the certificate and the key")
	}
	return when(scheme == "http" && file != "",
		"is set while monitoring.scheme is http", "leave it empty, or set the scheme to https")
}

// notIn names the allowed value that differs in case only, if there is one.
func notIn(value string, allowed []string) problem {
	fix := "want one of " + strings.Join(allowed, ", ")
	if i := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, value) }); i >= 0 {
		fix = "write it as " + allowed[i]
	}
	return when(!slices.Contains(allowed, value), "is not known", fix)
}

// badURL names everything that is wrong with a URL, which may have a path or not.
// It leaves out url.Parse's own error, which repeats the URL and with it a
// password.
func badURL(text string, path bool, schemes ...string) problem {
	fix := "want " + strings.Join(schemes, "|") + "://host:port"
	if !path {
		fix += " and nothing behind it"
	}
	u, err := url.Parse(text)
	if err != nil {
		return problem{"is not a URL", fix}
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
	blame(!path && u.Path != "" && u.Path != "/", "has a path")
	blame(u.RawQuery != "" || u.ForceQuery, "has a query")
	blame(strings.Contains(text, "#"), "has a fragment")
	return when(len(problems) > 0, strings.Join(problems, ", "), fix)
}
