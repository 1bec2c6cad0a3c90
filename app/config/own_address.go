package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// A gateway that forwards to itself spends a token's whole limit on one request.
// What a name resolves to changes while the gateway runs, so names other than its
// own are left to the Via field.
const (
	ownPort    = "is the gateway's own port"
	ownPortFix = "want the address of the backend"
)

// badLoopback finds the gateway's own port on a loopback address. The gateway
// listens on all of them.
func badLoopback(a *Application) problem {
	host, ok := ownPortHost(a)
	addr, err := netip.ParseAddr(host)
	addr = addr.WithZone("").Unmap()
	loopback := host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && (addr.IsLoopback() || addr.IsUnspecified())
	return when(ok && loopback, ownPort, ownPortFix)
}

// badOwnAddress finds the gateway's own port on an address or under the name of
// this machine.
func badOwnAddress(a *Application) problem {
	host, ok := ownPortHost(a)
	if !ok {
		return problem{}
	}
	if name, err := os.Hostname(); err == nil && strings.EqualFold(host, name) {
		return problem{ownPort, ownPortFix}
	}
	target, err := netip.ParseAddr(host)
	if err != nil {
		return problem{}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return problem{} // the Via field breaks the loop all the same
	}
	for _, address := range addresses {
		prefix, err := netip.ParsePrefix(address.String())
		if err == nil && prefix.Addr() == target.WithZone("").Unmap() {
			return problem{ownPort, ownPortFix}
		}
	}
	return problem{}
}

// judgeOwnAddress leaves out what judgeValues has reported.
func (l *loader) judgeOwnAddress() {
	if a := &l.cfg.Application; badLoopback(a) == (problem{}) {
		l.expect(&a.TargetHost, badOwnAddress(a))
	}
}

// ownPortHost returns the host of target_host in lower case, and whether its port
// is the one that the gateway listens on.
func ownPortHost(a *Application) (host string, ok bool) {
	u, err := url.Parse(a.TargetHost)
	if err != nil {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), a.Port != 0 && port == strconv.Itoa(a.Port)
}
