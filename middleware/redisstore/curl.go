package redisstore

import (
	"net/http"
	"net/url"
	"strings"

	"tyk_proxy/middleware"
)

// DefaultRoutes are the routes of a token that nobody chose routes for.
func DefaultRoutes() []string { return []string{"/api/v1/test", "/api/v1/test2"} }

// CurlExample returns a command that uses the token on its first route. base is
// the gateway's URL without a path. The command contains the JWT: it is for
// the terminal of the person who minted it, never for a log.
func (m Minted) CurlExample(base string) string {
	var method, path string
	for _, rule := range m.Routes[:min(1, len(m.Routes))] {
		route, err := middleware.ParseRoute(rule)
		if err != nil {
			break // Mint refused it, so it is not a minted token's
		}
		path = (&url.URL{Path: strings.TrimSuffix(route.Path, "*")}).EscapedPath()
		switch route.Method {
		case "", http.MethodGet:
		case http.MethodHead:
			method = "--head "
		default:
			method = "-X " + route.Method + " "
		}
	}
	return "curl -i " + method + "-H 'Authorization: Bearer " + m.JWT + "' '" + base + path + "'"
}
