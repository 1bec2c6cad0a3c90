package app

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// maxWait bounds how long a request can ask the built-in backend to wait.
const maxWait = time.Minute

// Whoami is the built-in backend, an [http.HandlerFunc]: it answers with what it
// received, in the form that traefik/whoami made familiar, and like it takes its
// time where the query says ?wait=2s.
func Whoami(w http.ResponseWriter, r *http.Request) {
	if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
		select {
		case <-time.After(min(wait, maxWait)):
		case <-r.Context().Done():
			return
		}
	}
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
	// The request as it was received; its body is drained by the server.
	r.Body = http.NoBody
	if err := r.Write(w); err != nil {
		fmt.Fprintln(w, "error:", err)
	}
}
