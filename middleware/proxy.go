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
)

// ProxyConfig configures the proxy stage. Target and Transport are required.
type ProxyConfig struct {
	Target    *url.URL          // scheme and host of the backend
	Transport http.RoundTripper // must not add its own Accept-Encoding
	// TraceIDHeader is the pipeline's: an upstream may not speak for it.
	TraceIDHeader string
}

// Proxy is the last stage: it forwards to the one configured backend and
// streams the response back, server-sent events and WebSocket upgrades
// included. It never chooses a host by what the request says.
type Proxy struct {
	cfg     ProxyConfig
	reverse httputil.ReverseProxy
}

// NewProxy returns the stage.
func NewProxy(cfg ProxyConfig) *Proxy {
	p := &Proxy{cfg: cfg}
	p.reverse = httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      cfg.Transport,
		BufferPool:     &bufferPool{},
		ErrorHandler:   keepError,
		ModifyResponse: p.checkResponse,
		// Everything worth saying is in the outcome.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return p
}

// Name implements [Forwarder].
func (*Proxy) Name() string { return StageProxy }

// Forward implements [Forwarder]. Where the response breaks off after its
// status was sent it panics with http.ErrAbortHandler, as httputil does.
func (p *Proxy) Forward(ctx context.Context, w http.ResponseWriter, ex *Exchange) Outcome {
	rw, ok := w.(*responseWriter)
	if !ok {
		rw = &responseWriter{ResponseWriter: w, ex: ex}
	}
	var body *bodyReader
	out := ex.Request.WithContext(context.WithValue(ctx, pathKey{}, &ex.Path))
	if ex.Request.Body != nil && ex.Request.Body != http.NoBody {
		body = &bodyReader{ReadCloser: ex.Request.Body}
		out.Body = body
	}
	dropUpgrade(out)
	defer func() {
		if rw.forwardErr == nil {
			ex.Upstream.Status = rw.finalStatus()
		}
	}()
	p.reverse.ServeHTTP(rw, out)
	if rw.forwardErr == nil {
		return Outcome{Reason: Forwarded}
	}
	return Outcome{Reason: forwardReason(ctx, rw.forwardErr, body.err()), Err: unquotedError(rw.forwardErr)}
}

type pathKey struct{}

// rewrite makes the outgoing request. It runs after httputil dropped the
// hop-by-hop headers, so what is set here reaches the backend.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host, out.Host = p.cfg.Target.Scheme, p.cfg.Target.Host, ""
	if path, ok := pr.In.Context().Value(pathKey{}).(*Path); ok {
		out.URL.Path, out.URL.RawPath = path.Decoded, path.Escaped
	}
	// No decision reads the query, so the backend may have it as it came;
	// httputil would drop parameters that it cannot parse.
	out.URL.RawQuery = pr.In.URL.RawQuery
	forwardedHeaders(pr)
}

// keepError hands the transport's error back to Forward.
func keepError(w http.ResponseWriter, _ *http.Request, err error) {
	if rw, ok := w.(*responseWriter); ok {
		rw.forwardErr = err
	}
}

// ErrShuttingDown is the cause with which a request's context ends when the
// gateway stops and cannot wait for it any longer (see context.Cause).
var ErrShuttingDown = errors.New("the gateway is shutting down")

// forwardReason says whose fault a failed exchange was: the client's, when it
// went away or its body could not be read, else the upstream's.
func forwardReason(ctx context.Context, err, bodyErr error) Reason {
	var timeout net.Error
	switch {
	case errors.Is(context.Cause(ctx), ErrShuttingDown):
		return ShuttingDown
	case bodyErr != nil && errors.As(bodyErr, &timeout) && timeout.Timeout():
		return RequestBodyTimeout
	case errors.Is(bodyErr, io.ErrUnexpectedEOF):
		// The client closed its half of the connection before its body was whole.
		// net/http cancels the context for that, too, but an answer may be read.
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
// closed the connection without an answer. It may have done what it was asked.
func brokenOff(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
