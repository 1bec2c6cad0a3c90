package config

import (
	"net"
	"os"
	"strings"
	"testing"
)

// ownHosts returns hosts that are this machine, as a URL has them.
func ownHosts(t *testing.T) []string {
	t.Helper()
	hosts := []string{
		"localhost", "LOCALHOST", "localhost.", "gateway.localhost", "127.0.0.1", "127.1.2.3", "[::1]",
		"[::ffff:127.0.0.1]", "0.0.0.0", "[::]",
	}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		ip, _, _ := strings.Cut(address.String(), "/")
		if strings.Contains(ip, ":") {
			ip = "[" + ip + "]"
		}
		hosts = append(hosts, ip)
	}
	return hosts
}

// A target that is seen to be the gateway itself is refused at the start.
func TestTargetIsTheGateway(t *testing.T) {
	for _, host := range ownHosts(t) {
		runFaults(t, []faultRow{{
			`{"application":{"port":8081,"target_host":"http://` + host + `:8081"}}`,
			`application.target_host = "http://` + host + `:8081": is the gateway's own port; want the address of the backend`,
		}})
	}
	runFaults(t, []faultRow{
		{`{"application":{"port":80,"target_host":"http://localhost"}}`,
			`application.target_host = "http://localhost": is the gateway's own port; want the address of the backend`},
		{`{"application":{"port":443,"target_host":"https://[::1]"}}`,
			`application.target_host = "https://[::1]": is the gateway's own port; want the address of the backend`},
	})
	for _, application := range []Application{
		{Port: 8081, TargetHost: "http://localhost:8082"},
		{Port: 8081, TargetHost: "http://localhost"},
		{Port: 8081, TargetHost: "http://backend:8081"},
		{Port: 8081, TargetHost: "http://192.0.2.1:8081"},
		{Port: 0, TargetHost: "http://localhost:8081"},
	} {
		if p := badLoopback(&application); p != (problem{}) {
			t.Errorf("%+v: %s", application, p.what)
		}
		if p := badOwnAddress(&application); p != (problem{}) {
			t.Errorf("%+v: %s", application, p.what)
		}
	}
}
