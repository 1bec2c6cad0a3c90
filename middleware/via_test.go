package middleware

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

type viaRow struct {
	name   string
	proto  string
	fields string
	via    string // what the upstream receives
	want   Reason
}

func viaRows() []viaRow {
	return []viaRow{
		{"nothing passed", "1.1", "", "1.1 gw-1", Forwarded},
		{"HTTP/1.0", "1.0", "", "1.0 gw-1", Forwarded},
		{"another proxy", "1.1", "Via: 1.0 fred\r\n", "1.0 fred, 1.1 gw-1", Forwarded},
		{"two lines", "1.1", "Via: 1.0 fred\r\nvia: 1.1 gw-2\r\n", "1.0 fred, 1.1 gw-2, 1.1 gw-1", Forwarded},
		{"Connection names it", "1.1", "Via: 1.0 fred\r\nConnection: Via\r\n", "1.0 fred, 1.1 gw-1", Forwarded},
		{"itself", "1.1", "Via: 1.1 gw-1\r\n", "", LoopDetected},
		{"itself and another", "1.1", "Via: 1.1 gw-1, 1.1 fred\r\n", "", LoopDetected},
		{"itself in the second line", "1.1", "Via: 1.1 fred\r\nVia: HTTP/1.1 gw-1 (tyk_proxy)\r\n", "", LoopDetected},
		{"itself while Connection names it", "1.1", "Via: 1.1 gw-1\r\nConnection: Via\r\n", "", LoopDetected},
	}
}

// A gateway adds itself to the Via field, and refuses what it forwarded before.
func TestVia(t *testing.T) {
	for _, row := range viaRows() {
		t.Run(row.name, func(t *testing.T) {
			upstream := newUpstream(t, plainOK)
			g := newGateway(t, upstream.url, func(c gatewayConfig) { c.proxy.Pseudonym = "gw-1" })
			conn := dial(t, g.addr)
			if _, err := conn.Write([]byte(g.head("GET /x HTTP/"+row.proto, row.fields))); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if row.want != Forwarded {
				checkRefusal(t, g, resp, row.want)
				return
			}
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d", resp.StatusCode)
			}
			sent, err := http.ReadRequest(bufio.NewReader(strings.NewReader(upstream.seen(t))))
			if err != nil {
				t.Fatal(err)
			}
			if got := sent.Header["Via"]; len(got) != 1 || got[0] != row.via {
				t.Errorf("Via is %q, want %q", got, row.via)
			}
		})
	}
}
