package telemetry

import (
	"net/http"
	"sync"
)

// methodLabel keeps a client from inventing label values and log text: a method
// that HTTP does not know is "_OTHER", as semantic conventions have it.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return routeOther
}

// routeLabels bounds how many routes become a label: the first hundred that
// are seen, then "_OTHER". Routes come from token records, whose number nobody
// bounds.
type routeLabels struct {
	mu    sync.RWMutex
	known map[string]struct{}
}

func newRouteLabels() *routeLabels {
	return &routeLabels{known: make(map[string]struct{}, maxRoutes)}
}

func (l *routeLabels) bounded(route string) string {
	l.mu.RLock()
	_, ok := l.known[route]
	l.mu.RUnlock()
	if ok {
		return route
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[route]; !ok && len(l.known) >= maxRoutes {
		return routeOther
	}
	l.known[route] = struct{}{}
	return route
}
