package mint

import (
	"net/http"
	"net/url"
	"strings"

	"tyk_proxy/middleware"
)

// CurlExample returns a command that uses the token on its first route. base is
// the gateway's URL without a path. The command contains the JWT: print it for
// the person who minted the token, and never log it.
func (t Token) CurlExample(base string) string {
	var method, path string
	for _, rule := range t.Routes[:min(1, len(t.Routes))] {
		route, err := middleware.ParseRoute(rule)
		if err != nil {
			break // impossible: New refused it
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
	return "curl -i " + method + "-H 'Authorization: Bearer " + t.JWT + "' '" + base + path + "'"
}
