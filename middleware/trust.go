package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
)

// TrustBoundary returns the outermost handler. It removes the header fields that
// would undo what the gateway authorises (see overrides), and, unless the peer is
// in one of the networks, those that describe a request's origin and its trace
// (see claims). It runs before the proxy, which extends them, and before the
// instrumentation, which would record a client's claim as its address.
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

// untrusted reports whether a header field must be removed. X_Forwarded_For and
// its like are removed for trusted peers too: CGI and WSGI read them as
// X-Forwarded-For, and a proxy that sets X-Forwarded-For passes them on.
func untrusted(name string, trustedPeer bool) bool {
	if strings.IndexByte(name, '_') >= 0 {
		like := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		return overrides(like) || claims(like)
	}
	return overrides(name) || !trustedPeer && claims(name)
}

// overrides reports whether backends are known to take another method or path
// than the request line's from a header field. The method and path that were
// authorised must be the ones that the backend obeys. A backend that runs as CGI
// takes Proxy for the variable HTTP_PROXY (CVE-2016-5385). The name is in
// canonical form.
func overrides(name string) bool {
	switch name {
	case "Proxy",
		"X-Http-Method", "X-Http-Method-Override", "X-Method", "X-Method-Override", "X-Original-Method",
		"X-Original-Path", "X-Original-Uri", "X-Original-Url", "X-Override-Url",
		"X-Rewrite-Path", "X-Rewrite-Uri", "X-Rewrite-Url":
		return true
	}
	return false
}

// claims reports whether a header field says where a request comes from or which
// trace it belongs to, as proxies, content delivery networks and tracers write it.
// Traceparent is not among them: the instrumentation decides about it. The name is
// in canonical form.
func claims(name string) bool {
	switch name {
	case "Forwarded", "Client-Ip", "Remote-Addr", "Remote-Ip", "Proxy-Client-Ip", "Wl-Proxy-Client-Ip",
		"True-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Fastly-Client-Ip", "Fly-Client-Ip",
		"X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Addr", "X-Remote-Ip", "X-Originating-Ip",
		"X-Azure-Clientip", "X-Azure-Socketip", "X-Appengine-User-Ip", "X-Envoy-External-Address", "X-Proxyuser-Ip",
		"X-Original-For", "X-Original-Forwarded-For", "X-Original-Host", "X-Original-Proto",
		"Baggage", "Tracestate", "Correlation-Context", "B3", "Uber-Trace-Id", "Sentry-Trace", "Grpc-Trace-Bin",
		"X-Amzn-Trace-Id", "X-Cloud-Trace-Context", "X-Ot-Span-Context", "Elastic-Apm-Traceparent", "Newrelic",
		"Sw8", "Sw8-Correlation", "Sw8-X":
		return true
	}
	switch name[0] { // net/http accepts no empty name
	case 'X':
		return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-B3-") ||
			strings.HasPrefix(name, "X-Datadog-") || strings.HasPrefix(name, "X-Instana-")
	case 'O':
		return strings.HasPrefix(name, "Ot-Tracer-") || strings.HasPrefix(name, "Ot-Baggage-")
	case 'U':
		return strings.HasPrefix(name, "Uberctx-")
	}
	return false
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
