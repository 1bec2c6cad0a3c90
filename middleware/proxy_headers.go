package middleware

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
)

// forwardedHeaders rebuilds what the request says about its own way here. A
// peer that is not trusted may say nothing about it, and may not pass baggage
// or trace state on.
func (p *Proxy) forwardedHeaders(pr *httputil.ProxyRequest) {
	// The instrumented transport writes the trace context anew.
	delete(pr.Out.Header, "Traceparent")
	delete(pr.Out.Header, "Tracestate")
	dropUnderscored(pr.Out.Header)
	if !Trusted(p.cfg.Trusted, pr.In.RemoteAddr) {
		for _, name := range [...]string{
			"Baggage", "X-Real-Ip",
			"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method",
		} {
			delete(pr.Out.Header, name)
		}
		pr.SetXForwarded()
		return
	}
	if prior := pr.In.Header["X-Forwarded-For"]; len(prior) > 0 {
		pr.Out.Header["X-Forwarded-For"] = prior // SetXForwarded appends the peer
	}
	pr.SetXForwarded()
	for _, name := range [...]string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if prior := pr.In.Header.Get(name); prior != "" {
			pr.Out.Header[name] = []string{prior}
		}
	}
}

// dropUnderscored drops the look-alikes of the headers that say where a request
// came from: CGI and WSGI take X_Forwarded_For for X-Forwarded-For.
func dropUnderscored(h http.Header) {
	for name := range h {
		if !strings.Contains(name, "_") {
			continue
		}
		switch like := strings.ToLower(strings.ReplaceAll(name, "_", "-")); {
		case like == "x-real-ip", strings.HasPrefix(like, "x-forwarded-"):
			delete(h, name)
		}
	}
}

// Trusted reports whether a peer, as http.Request.RemoteAddr names it, is in
// one of the networks.
func Trusted(networks []netip.Prefix, remoteAddr string) bool {
	if len(networks) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap()
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
