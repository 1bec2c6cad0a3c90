package embedded

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// maxWait limits the parameter wait of a request.
const maxWait = time.Minute

// Whoami is the embedded backend. Like traefik/whoami it answers with the request
// that it received, and waits first if the query is ?wait=2s.
func Whoami(w http.ResponseWriter, r *http.Request) {
	if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
		select {
		case <-time.After(min(wait, maxWait)):
		case <-r.Context().Done():
			return
		}
	}
	// Errors of the following writes mean that the client is gone.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if hostname, err := os.Hostname(); err == nil {
		fmt.Fprintln(w, "Hostname:", hostname)
	}
	if addresses, err := net.InterfaceAddrs(); err == nil {
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok {
				fmt.Fprintln(w, "IP:", network.IP)
			}
		}
	}
	fmt.Fprintln(w, "RemoteAddr:", r.RemoteAddr) //nolint:gosec // text/plain is not rendered
	// Write also sends the body; the server discards it.
	r.Body = http.NoBody
	if err := r.Write(w); err != nil {
		fmt.Fprintln(w, "error:", err)
	}
}
