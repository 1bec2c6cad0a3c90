package middleware

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Route is one rule of a token's allowed_routes.
type Route struct {
	Method  string // "" for every method
	Path    string // as written: "/api/v1/test", or "/files/*" for a subtree
	Subtree bool
}

// ParseRoute reads a rule: an exact path ("/api/v1/test") or a subtree
// ("/files/*", which covers everything below /files/ but not /files itself). A
// method and one space may precede it ("GET /files/*"). Paths are written
// decoded, are case-sensitive and match on whole segments.
func ParseRoute(rule string) (Route, error) {
	route := Route{Path: rule}
	if method, path, ok := strings.Cut(rule, " "); ok && !strings.HasPrefix(rule, "/") {
		if !forwardable(method) {
			return Route{}, fmt.Errorf("route %q: method %q is not one of %s", rule, method, forwardableMethods)
		}
		route.Method, route.Path = method, path
	}
	exact, subtree := strings.CutSuffix(route.Path, "/*")
	route.Subtree = subtree
	if subtree {
		exact += "/"
	}
	if _, err := CanonicalPath(&url.URL{Path: exact}); err != nil || strings.Contains(exact, "*") {
		return Route{}, fmt.Errorf(
			"route %q is not an absolute path such as /api/v1/test, /files/* or GET /files/*", rule)
	}
	return route, nil
}

// RouteSet is the compiled allowed_routes of one record. The zero value
// allows nothing.
type RouteSet struct {
	exact     map[string][]Route // by path
	subtrees  map[string][]Route // by path, up to and with the last slash
	malformed int
}

// NewRouteSet compiles rules. It counts rules that are not well-formed; they
// allow nothing.
func NewRouteSet(rules []string) RouteSet {
	set := RouteSet{exact: make(map[string][]Route), subtrees: make(map[string][]Route)}
	for _, rule := range rules {
		switch route, err := ParseRoute(rule); {
		case err != nil:
			set.malformed++
		case route.Subtree:
			prefix := strings.TrimSuffix(route.Path, "*")
			set.subtrees[prefix] = append(set.subtrees[prefix], route)
		default:
			set.exact[route.Path] = append(set.exact[route.Path], route)
		}
	}
	return set
}

// Malformed returns how many rules are not well-formed.
func (s RouteSet) Malformed() int { return s.malformed }

// Match returns the path of the most specific rule that covers the request:
// exact before subtree, long before short. Its cost depends on the number of
// segments in the path and not on the number of rules.
func (s RouteSet) Match(method, path string) (string, bool) {
	if route, ok := allowing(s.exact[path], method); ok {
		return route, true
	}
	for end := len(path); len(s.subtrees) > 0; end-- {
		if end = strings.LastIndexByte(path[:end], '/') + 1; end == 0 {
			break
		}
		if route, ok := allowing(s.subtrees[path[:end]], method); ok {
			return route, true
		}
	}
	return "", false
}

// allowing returns the path of the routes, which all have the same path, if one
// of them covers the method. GET also covers HEAD, as in net/http's patterns.
func allowing(routes []Route, method string) (string, bool) {
	for i := range routes {
		m := routes[i].Method
		if m == "" || m == method || m == http.MethodGet && method == http.MethodHead {
			return routes[i].Path, true
		}
	}
	return "", false
}

// forwardableMethods are the methods that the gateway forwards, as the Allow
// header of a 405 lists them (RFC 9110 §10.2.1).
const forwardableMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// forwardable reports whether the gateway forwards a method. It forwards neither
// CONNECT and TRACE, which are addressed to proxies (RFC 9110 §9.3.6, §9.3.8),
// nor unknown methods, which no rule can name.
func forwardable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// RouteCheck is the third stage: it canonicalises the path and matches it
// against the record's allowed routes.
type RouteCheck struct{}

// Name implements [Stage].
func (RouteCheck) Name() string { return StageRouteCheck }

// Check implements [Stage].
func (RouteCheck) Check(_ context.Context, ex *Exchange) Outcome {
	if !forwardable(ex.Request.Method) {
		return Outcome{Reason: MethodNotAllowed}
	}
	path, err := CanonicalPath(ex.Request.URL)
	if err != nil {
		return Outcome{Reason: PathAmbiguous}
	}
	route, ok := ex.Record.Routes.Match(ex.Request.Method, path.Decoded)
	if !ok {
		return Outcome{Reason: RouteNotAllowed}
	}
	ex.Path, ex.Route = path, route
	return Outcome{Reason: RouteAllowed}
}
