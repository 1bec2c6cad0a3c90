package telemetry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"sync"

	"tyk_proxy/telemetry/names"
)

// methodLabel keeps a client from inventing label values and log text: a method
// that HTTP does not know is "_OTHER".
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return names.Other
}

// metricMethod is methodLabel for metrics and spans, where otelhttp takes "get"
// for GET. A log line tells them apart: only one of them is allowed.
func metricMethod(method string) string {
	if known := methodLabel(method); known != names.Other {
		return known
	}
	return methodLabel(strings.ToUpper(method))
}

// maxRoutes bounds the routes that become a label, and maxRouteSeries how many
// series they make with the methods and statuses they are answered with.
const (
	maxRoutes      = 100
	maxRouteSeries = 1000
)

// routeLabels bounds how many routes become a label: the first hundred that
// are seen, then "_OTHER". Routes come from token records, whose number nobody
// bounds. It also bounds what the routes make together with methods and
// statuses: beyond the SDK's own limit of 2000 series a metric would lose all
// labels of what is new, which is an error's status more often than not.
type routeLabels struct {
	mu     sync.RWMutex
	routes map[string]struct{}
	series map[routeSeries]struct{}
}

type routeSeries struct {
	method, route string
	status        int
}

func newRouteLabels() *routeLabels {
	return &routeLabels{
		routes: make(map[string]struct{}, maxRoutes),
		series: make(map[routeSeries]struct{}),
	}
}

// bounded returns the series itself, or the same one of route "_OTHER".
func (l *routeLabels) bounded(s routeSeries) routeSeries {
	if s.route == "" {
		return s
	}
	l.mu.RLock()
	_, ok := l.series[s]
	l.mu.RUnlock()
	if ok {
		return s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok = l.series[s]; ok {
		return s // somebody else was faster
	}
	if _, ok = l.routes[s.route]; !ok && len(l.routes) >= maxRoutes || len(l.series) >= maxRouteSeries {
		s.route = names.Other
		return s
	}
	// A copy of its own: the route is a slice of the whole record.
	s.route = strings.Clone(s.route)
	l.routes[s.route], l.series[s] = struct{}{}, struct{}{}
	return s
}

// keyIDBytes is how much of the HMAC makes a key's id: 64 bits tell apart more
// keys than there are, and are too few to be of use for anything else.
const keyIDBytes = 8

// keyIDs makes gateway.key.id: an id under which an operator can follow a
// client without learning its key (HMAC-SHA-256, RFC 2104, truncated).
type keyIDs struct{ macs sync.Pool } // of hash.Hash, which is dear to make

func newKeyIDs(secret []byte) *keyIDs {
	return &keyIDs{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
}

func (k *keyIDs) of(apiKey string) string {
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(apiKey))
	var sum [sha256.Size]byte
	return hex.EncodeToString(mac.Sum(sum[:0])[:keyIDBytes])
}
