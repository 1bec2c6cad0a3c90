package middleware

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

// TrustBoundary is the outermost handler. What a request says about its own way
// here, and the baggage and tracestate it brings, is believed from a peer in one of the
// networks and dropped from everybody else, before anything reads it: the
// proxy, which rebuilds it, and the instrumentation, which would record a
// client's word as its address.
func TrustBoundary(networks []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trusted := Trusted(networks, r.RemoteAddr)
		for name := range r.Header {
			if aboutTheWay(name, trusted) {
				delete(r.Header, name)
			}
		}
		// Two traceparents say two things, so neither counts (W3C Trace Context
		// §3.2); a tracestate may come in several lines, which are one list (§3.3).
		if len(r.Header["Traceparent"]) > 1 {
			delete(r.Header, "Traceparent")
			delete(r.Header, "Tracestate")
		} else if states := r.Header["Tracestate"]; len(states) > 1 {
			r.Header["Tracestate"] = []string{strings.Join(states, ",")}
		}
		if trusted {
			r = r.WithContext(context.WithValue(r.Context(), trustedKey{}, networks))
		}
		next.ServeHTTP(w, r)
	})
}

type trustedKey struct{}

// TrustedNetworks returns the networks of TrustBoundary if it found the
// request's peer in one of them, else nil.
func TrustedNetworks(ctx context.Context) []netip.Prefix {
	networks, _ := ctx.Value(trustedKey{}).([]netip.Prefix)
	return networks
}

// aboutTheWay reports whether a header is to be dropped. Look-alikes are dropped
// from trusted peers too: CGI and WSGI take X_Forwarded_For for X-Forwarded-For,
// and a proxy that sets the one passes the other.
func aboutTheWay(name string, trusted bool) bool {
	switch name {
	case "Baggage", "Tracestate", "Forwarded", "X-Real-Ip":
		return !trusted
	}
	if !strings.HasPrefix(name, "X") {
		return false
	}
	if strings.Contains(name, "_") {
		like := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		return like == "x-real-ip" || strings.HasPrefix(like, "x-forwarded-")
	}
	return !trusted && strings.HasPrefix(name, "X-Forwarded-")
}

// Trusted reports whether a peer, as http.Request.RemoteAddr names it, is in
// one of the networks.
func Trusted(networks []netip.Prefix, remoteAddr string) bool {
	if len(networks) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remoteAddr)
	return err == nil && contain(networks, peer.Addr())
}

func contain(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("") // a network has no zone
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientAddress returns where a request came from, as far as that is known: each
// trusted proxy is asked for the peer it saw, from the nearest to the farthest,
// up to one that is not trusted. What stands before it in X-Forwarded-For is
// hearsay.
func ClientAddress(networks []netip.Prefix, r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	client := peer.Addr().Unmap()
	rest := strings.Join(r.Header["X-Forwarded-For"], ",")
	for rest != "" && contain(networks, client) {
		comma := strings.LastIndexByte(rest, ',')
		before, err := netip.ParseAddr(strings.TrimSpace(rest[comma+1:]))
		if err != nil {
			break
		}
		client, rest = before.Unmap(), rest[:max(comma, 0)]
	}
	return client.String()
}
