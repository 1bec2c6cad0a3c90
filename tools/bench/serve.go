package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"
)

// serveMode is the first argument with which this program is one of the servers.
const serveMode = "-serve"

const (
	metricAllocs = "go_memstats_mallocs_total"
	metricBytes  = "go_memstats_alloc_bytes_total"
)

// serve runs a server until the process ends. places are its address, the
// address of its metrics and the URL of its backend, comma separated.
func serve(kind, places string) error {
	part := strings.SplitN(places, ",", 3)
	if len(part) != 3 {
		return fmt.Errorf("want three places, got %q", places)
	}
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the client is gone otherwise
	})
	if kind == "base" {
		target, err := url.Parse(part[2])
		if err != nil {
			return fmt.Errorf("the backend's URL: %w", err)
		}
		handler = newBase(target)
	}
	failed := make(chan error, 2)
	for addr, h := range map[string]http.Handler{part[0]: handler, part[1]: http.HandlerFunc(memoryMetrics)} {
		s := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second}
		go func() { failed <- s.ListenAndServe() }()
	}
	return <-failed
}

// newBase returns the proxy with which all others are compared: what the
// standard library gives, with a transport that keeps its connections and
// buffers that are used again.
func newBase(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConns:          0,
			MaxIdleConnsPerHost:   2048,
			IdleConnTimeout:       time.Minute,
			ResponseHeaderTimeout: 15 * time.Second,
			DisableCompression:    true,
		},
		BufferPool:   &bufferPool{},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *bufferPool) Put(buffer []byte) { b.pool.Put(&buffer) }

// memoryMetrics writes the two metrics that are read of every Go server here.
func memoryMetrics(w http.ResponseWriter, _ *http.Request) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Fprintf(w, "%s %d\n%s %d\n", metricAllocs, stats.Mallocs, metricBytes, stats.TotalAlloc)
}

// scrape returns the body of a page of metrics; no URL gives an empty one.
func scrape(ctx context.Context, page string) (string, error) {
	if page == "" {
		return "", nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("asking for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking for metrics: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("reading metrics: %w", err)
	}
	return string(text), nil
}
