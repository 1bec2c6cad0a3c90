package middleware

import (
	"net/http"
	"strings"
)

// dropUpgrade takes an upgrade to anything but WebSocket out of a request
// (RFC 9110 §7.8 lets a server ignore it): h2c above all would open a channel on
// which nothing is checked any more.
func dropUpgrade(r *http.Request) {
	if upgrade := r.Header["Upgrade"]; len(upgrade) == 0 || strings.EqualFold(upgrade[0], "websocket") {
		return
	}
	r.Header = r.Header.Clone() // the client's own stay as they came
	delete(r.Header, "Upgrade")
}

// dropOwnHeaders takes the headers that are the gateway's to set out of a 101:
// httputil adds its headers to ours there, where it writes all others over.
func (p *Proxy) dropOwnHeaders(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		for _, name := range [...]string{
			headerRateLimitPolicy, headerRateLimit, headerXLimit, headerXRemaining, headerXReset,
		} {
			delete(res.Header, name)
		}
		res.Header.Del(p.cfg.TraceIDHeader)
	}
	return nil
}
