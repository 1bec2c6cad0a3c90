package middleware

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
)

// TrustBoundary returns the outermost handler. It removes the header fields that
// describe a request's origin and its trace (Forwarded, X-Forwarded-*, X-Real-Ip,
// Baggage, Tracestate), unless the peer is in one of the networks. It runs before
// the proxy, which extends them, and before the instrumentation, which would
// record a client's claim as its address.
func TrustBoundary(networks []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trusted := Trusted(networks, r.RemoteAddr)
		for name := range r.Header {
			if untrusted(name, trusted) {
				delete(r.Header, name)
			}
		}
		// More than one traceparent is invalid (W3C Trace Context §3.2). Several
		// tracestate fields are one list (§3.3).
		if len(r.Header["Traceparent"]) > 1 {
			delete(r.Header, "Traceparent")
			delete(r.Header, "Tracestate")
		} else if states := r.Header["Tracestate"]; len(states) > 1 {
			r.Header["Tracestate"] = []string{strings.Join(states, ",")}
		}
		next.ServeHTTP(w, r)
	})
}

// untrusted reports whether a header field must be removed. X_Forwarded_For and
// its like are removed for trusted peers too: CGI and WSGI read them as
// X-Forwarded-For, and a proxy that sets X-Forwarded-For passes them on.
func untrusted(name string, trustedPeer bool) bool {
	switch name {
	case "Baggage", "Tracestate", "Forwarded", "X-Real-Ip":
		return !trustedPeer
	}
	if !strings.HasPrefix(name, "X") {
		return false
	}
	if strings.Contains(name, "_") {
		like := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		return like == "x-real-ip" || strings.HasPrefix(like, "x-forwarded-")
	}
	return !trustedPeer && strings.HasPrefix(name, "X-Forwarded-")
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

// ClientAddress returns the address of the client, or "" if it is unknown. It
// reads X-Forwarded-For from right to left, as long as the address so far is a
// trusted proxy's; addresses further left could be forged.
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

var errLoop = errors.New("the upstream leads back to this gateway")

// via is what a gateway writes into the Via field. The zero value writes nothing.
type via struct {
	pseudonym string
	own       [2][]string // by the minor version of HTTP/1; shared, so that a request does not allocate it
}

func newVia(pseudonym string) via {
	if pseudonym == "" {
		return via{}
	}
	return via{pseudonym, [2][]string{{"1.0 " + pseudonym}, {"1.1 " + pseudonym}}}
}

// passed reports whether a request was forwarded by this gateway before.
func (v via) passed(h http.Header) bool {
	return v.pseudonym != "" && slices.ContainsFunc(h["Via"], func(line string) bool { return strings.Contains(line, v.pseudonym) })
}

// add adds this gateway to those that a request has passed. The client's list
// stays also if its Connection field names Via.
func (v via) add(pr *httputil.ProxyRequest) {
	if v.pseudonym == "" {
		return
	}
	own := v.own[1]
	if !pr.In.ProtoAtLeast(1, 1) {
		own = v.own[0]
	}
	if prior := pr.In.Header["Via"]; len(prior) > 0 {
		own = []string{strings.Join(prior, ", ") + ", " + own[0]}
	}
	pr.Out.Header["Via"] = own
}
