package middleware

import (
	"errors"
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

var errStatus = errors.New("the status is not a number from 100 to 999")

// checkResponse refuses a status that net/http would panic over when it is
// written. It takes the headers that are the gateway's to set out of a 101:
// httputil adds its headers to ours there, where it writes all others over.
func (p *Proxy) checkResponse(res *http.Response) error {
	if res.StatusCode < 100 || res.StatusCode > 999 {
		return errStatus
	}
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
