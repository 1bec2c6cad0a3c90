package middleware

import (
	"net/netip"
	"testing"
)

func TestTrusted(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for peer, want := range map[string]bool{
		"10.1.2.3:80": true, "11.1.2.3:80": false, "[2001:db8::1]:80": true, "[2001:db9::1]:80": false, "[::ffff:10.1.2.3]:80": true,
		"10.1.2.3": false, "": false, "@": false, "example:80": false,
	} {
		if got := Trusted(networks, peer); got != want {
			t.Errorf("%q: %v", peer, got)
		}
		if Trusted(nil, peer) {
			t.Errorf("%q is trusted without networks", peer)
		}
	}
}
