package middleware

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
)

// ProxyConfig configures the proxy stage. Upstream and Transport are required.
type ProxyConfig struct {
	Upstream  *url.URL          // scheme and host
	Transport http.RoundTripper // must set Response.Request, and not add an Accept-Encoding
	// TraceIDHeader is the pipeline's. An upstream cannot set it.
	TraceIDHeader string
	// Pseudonym names this gateway in the Via field of what it forwards (RFC 9110
	// §7.6.3). A request that already carries it is refused: the upstream leads
	// back here. "" sends no Via.
	Pseudonym string
	// MaxBodyBytes bounds a request's body; 0 means that there is no limit.
	MaxBodyBytes int64
}

// Proxy is the last stage: it forwards the request to the one configured
// upstream and streams the response back, server-sent events and WebSocket
// upgrades included. Nothing in a request can choose another upstream.
type Proxy struct {
	cfg     ProxyConfig
	via     via
	reverse httputil.ReverseProxy
	open    streams
}

// NewProxy returns the stage.
func NewProxy(cfg ProxyConfig) *Proxy {
	cfg.TraceIDHeader = http.CanonicalHeaderKey(cfg.TraceIDHeader)
	p := &Proxy{cfg: cfg, via: newVia(cfg.Pseudonym)}
	p.reverse = httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      cfg.Transport,
		BufferPool:     &bufferPool{},
		ErrorHandler:   keepError,
		ModifyResponse: p.checkResponse,
		ErrorLog:       log.New(io.Discard, "", 0), // the outcome has the error
	}
	return p
}

// Name implements [Forwarder].
func (*Proxy) Name() string { return StageProxy }

// forwarding is what Forward shares with the callbacks of httputil. It travels
// in the request's context.
type forwarding struct {
	ex     *Exchange
	body   requestBody
	res    *http.Response // for its trailers
	err    error          // what httputil reported
	stream *atomic.Int64  // counts the response while it is relayed; nil if its end is known
}

type forwardingKey struct{}

func forwardingOf(ctx context.Context) *forwarding {
	f, _ := ctx.Value(forwardingKey{}).(*forwarding) // Forward always sets it
	return f
}

// Forward implements [Forwarder]. If the response breaks off after its status
// was sent, it panics with http.ErrAbortHandler, as httputil does.
func (p *Proxy) Forward(ctx context.Context, w http.ResponseWriter, ex *Exchange) Outcome {
	if p.via.passed(ex.Request.Header) {
		return Outcome{Reason: LoopDetected, Err: errLoop}
	}
	limit := p.cfg.MaxBodyBytes
	if limit > 0 && ex.Request.ContentLength > limit {
		return Outcome{Reason: RequestBodyTooLarge, Err: &http.MaxBytesError{Limit: limit}}
	}
	f := &forwarding{ex: ex}
	out := ex.Request.WithContext(context.WithValue(ctx, forwardingKey{}, f))
	if ex.Request.Body != nil && ex.Request.Body != http.NoBody {
		f.body.ReadCloser = ex.Request.Body
		if limit > 0 {
			f.body.ReadCloser = http.MaxBytesReader(w, ex.Request.Body, limit)
		}
		out.Body = &f.body
	}
	dropUpgrade(out)
	defer f.relayed() // also if httputil panics
	if !out.ProtoAtLeast(1, 1) && len(out.Header["Expect"]) > 0 {
		out.Header = out.Header.Clone()
		delete(out.Header, "Expect") // it has no meaning in HTTP/1.0 (RFC 9110 §10.1.1)
	}
	p.reverse.ServeHTTP(w, out)
	if f.res != nil && len(f.res.Trailer) > 0 {
		p.dropOwnTrailers(w.Header(), f.res.Trailer)
	}
	if f.err == nil {
		return Outcome{Reason: Forwarded}
	}
	return Outcome{Reason: forwardReason(ctx, f.err, f.body.err()), Err: RedactError(f.err)}
}

// dropUpgrade removes an upgrade to anything but WebSocket from a request, which
// RFC 9110 §7.8 allows: an upgrade to h2c would open a connection on which
// requests pass unchecked. HTTP/1.0 has no upgrades, and WebSocket begins with a
// GET (RFC 6455 §4.1).
func dropUpgrade(r *http.Request) {
	upgrade := r.Header["Upgrade"]
	if len(upgrade) == 0 ||
		strings.EqualFold(upgrade[0], "websocket") && r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) {
		return
	}
	r.Header = r.Header.Clone() // the client's own request stays as it is
	delete(r.Header, "Upgrade")
}

// rewrite makes the outgoing request. It runs after httputil has removed the
// hop-by-hop header fields, so the fields set here reach the upstream.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	path := forwardingOf(pr.In.Context()).ex.Path
	out.URL.Scheme, out.URL.Host, out.Host = p.cfg.Upstream.Scheme, p.cfg.Upstream.Host, ""
	out.URL.Path, out.URL.RawPath = path.Decoded, path.Escaped
	// No stage reads the query, so it is forwarded as it came; httputil would drop
	// the parameters that it cannot parse.
	out.URL.RawQuery = pr.In.URL.RawQuery
	forwardedHeaders(pr)
	p.via.add(pr)
}

// forwardedHeaders tells the upstream where the request came from. The fields
// that [TrustBoundary] left were set by a trusted peer, so they are extended and
// not replaced.
func forwardedHeaders(pr *httputil.ProxyRequest) {
	// The instrumented transport sets the trace context.
	delete(pr.Out.Header, "Traceparent")
	delete(pr.Out.Header, "Tracestate")
	if prior := pr.In.Header["X-Forwarded-For"]; len(prior) > 0 {
		pr.Out.Header["X-Forwarded-For"] = prior // SetXForwarded appends the peer
	}
	if prior := pr.In.Header["Forwarded"]; len(prior) > 0 {
		pr.Out.Header["Forwarded"] = prior
	}
	pr.SetXForwarded()
	for _, name := range [...]string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if prior := pr.In.Header.Get(name); prior != "" {
			pr.Out.Header[name] = []string{prior}
		}
	}
}

var errStatus = errors.New("the status is not a number from 100 to 999")

// checkResponse refuses a status that would make net/http panic when it is
// written. It removes the header fields that only the gateway may set, and the
// announcements of such trailers.
func (p *Proxy) checkResponse(res *http.Response) error {
	if res.StatusCode < 100 || res.StatusCode > 999 {
		return errStatus
	}
	f := forwardingOf(res.Request.Context())
	f.ex.Upstream.Status, f.res = res.StatusCode, res
	if f.stream = p.open.of(res); f.stream != nil {
		f.stream.Add(1)
	}
	for name := range res.Header {
		if gatewayOwns(name, p.cfg.TraceIDHeader) {
			delete(res.Header, name)
		}
	}
	for name := range res.Trailer {
		if gatewayOwnsInterim(name, p.cfg.TraceIDHeader) {
			delete(res.Trailer, name)
		}
	}
	return nil
}

// dropOwnTrailers removes the trailers that only the gateway may set. Those that
// were not announced are known after the body only; httputil then passes all
// trailers on with a prefix.
func (p *Proxy) dropOwnTrailers(h, trailers http.Header) {
	for name := range trailers {
		if gatewayOwnsInterim(name, p.cfg.TraceIDHeader) {
			delete(h, http.TrailerPrefix+name)
		}
	}
}

// keepError hands an error of httputil back to Forward.
func keepError(_ http.ResponseWriter, r *http.Request, err error) {
	f := forwardingOf(r.Context())
	f.err, f.ex.Upstream = err, Upstream{}
}

// ErrShuttingDown is the cause with which a request's context ends if the
// gateway stops and cannot wait for the request any longer (see context.Cause).
var ErrShuttingDown = errors.New("the gateway is shutting down")

// forwardReason returns the reason for a failed exchange: the client's, if it
// went away or its body could not be read, else the upstream's.
func forwardReason(ctx context.Context, err, bodyErr error) Reason {
	var timeout net.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(context.Cause(ctx), ErrShuttingDown):
		return ShuttingDown
	case bodyErr != nil && errors.As(bodyErr, &timeout) && timeout.Timeout():
		return RequestBodyTimeout
	case errors.As(bodyErr, &tooLarge):
		return RequestBodyTooLarge
	case errors.Is(bodyErr, io.ErrUnexpectedEOF):
		// The client closed its half of the connection before its body was
		// complete. net/http cancels the context, but the client may still read.
		return RequestBodyInvalid
	case errors.Is(ctx.Err(), context.Canceled):
		return ClientCanceled
	case bodyErr != nil:
		return RequestBodyInvalid
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return UpstreamTimeout
	case unreachable(err):
		return UpstreamUnreachable
	case brokenOff(err):
		return UpstreamAborted
	default:
		return UpstreamInvalid
	}
}

// unreachable reports whether there was no connection on which to send the
// request.
func unreachable(err error) bool {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &certificate)
}

// brokenOff reports whether the upstream took the request, or part of it, and
// closed the connection without an answer. It may have acted on the request.
func brokenOff(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// requestBody remembers why a request body could not be read, because the
// transport reports that as a failure of the upstream. The transport may still
// read while the handler returns, hence the atomic.
type requestBody struct {
	io.ReadCloser

	failed atomic.Pointer[error]
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// err returns why the body could not be read, or nil.
func (b *requestBody) err() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// copyBufferSize is what httputil allocates per response without a pool, bytes.
const copyBufferSize = 32 << 10
