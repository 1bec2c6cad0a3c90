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

// knownMethods returns the methods of RFC 9110 and RFC 5789.
func knownMethods() [9]string {
	return [...]string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
}

// methodLabel returns a known method itself and "_OTHER" for any other, so that
// clients cannot add label values or text to the log.
func methodLabel(method string) string {
	for _, known := range knownMethods() {
		if method == known {
			return known
		}
	}
	return names.Other
}

// metricMethod is methodLabel for metrics and spans. Like otelhttp, it ignores
// case. Log lines do not, because the gateway refuses "get".
func metricMethod(method string) string {
	if known := methodLabel(method); known != names.Other {
		return known
	}
	return methodLabel(strings.ToUpper(method))
}

// maxRoutes limits the routes that become a label. maxRouteSeries limits the
// combinations of route, method and status.
const (
	maxRoutes      = 100
	maxRouteSeries = 1000
)

// routeLabels limits the values of the label http.route to the first maxRoutes
// that are seen; any other becomes "_OTHER". Routes come from token records,
// whose number is not limited. It also limits the combinations of route, method
// and status: beyond 2000 series the SDK drops all labels of new series, and a
// new series is often an error. It is safe for concurrent use.
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

// bounded returns s, with route "_OTHER" if a limit is reached.
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
		return s // another goroutine added it
	}
	if _, ok = l.routes[s.route]; !ok && len(l.routes) >= maxRoutes || len(l.series) >= maxRouteSeries {
		s.route = names.Other
		return s
	}
	// The route is a slice of the whole record: a copy does not retain it.
	s.route = strings.Clone(s.route)
	l.routes[s.route], l.series[s] = struct{}{}, struct{}{}
	return s
}

// keyIDBytes is the length of the truncated HMAC. 64 bits are enough to
// distinguish keys.
const keyIDBytes = 8

// keyIDs makes gateway.key.id, by which an operator can identify a client
// without its api key (HMAC-SHA-256, RFC 2104, truncated).
type keyIDs struct{ macs sync.Pool } // of hash.Hash: a new one costs several allocations

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
