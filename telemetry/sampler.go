package telemetry

import (
	"net/http"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// maxRecording bounds the requests whose spans are held in memory at the same
// time. Beyond it, requests are served without spans.
const maxRecording = 10_000

// slowWait is the longest that the spans of a response that is being sent are
// held to see whether the request becomes slow. At one minute, maxRecording is
// room for 166 such responses a second.
const slowWait = time.Minute

// sampler decides at a request's start whether its spans are recorded, and at
// its end whether they are exported:
//
//   - Allowed, quick requests are exported if the ratio chose them.
//   - Refused, failed, bypassed and slow requests, and those that the backend
//     answered with a 5xx, are exported at any ratio, up to so many per second.
//     Their spans have to be recorded before anyone knows how the request ends,
//     so all requests are recorded, unless keeping is off.
//
// A request that the ratio chose and that reached the backend is exported
// without regard to the cap: the backend was told so (the traceparent's
// sampled flag) and may have exported its part.
type sampler struct {
	ratio  sdktrace.Sampler
	keep   bool
	slow   time.Duration
	cap    *keepCap
	active atomic.Int64 // requests whose spans are held
}

func newSampler(cfg TracesConfig) *sampler {
	return &sampler{
		ratio: sdktrace.TraceIDRatioBased(cfg.SampleRatio),
		keep:  cfg.KeepPerSecond > 0,
		slow:  cfg.SlowThreshold,
		cap:   newKeepCap(cfg.KeepPerSecond),
	}
}

// Description implements sdktrace.Sampler.
func (s *sampler) Description() string { return "tyk_proxy{" + s.ratio.Description() + "}" }

// ShouldSample implements sdktrace.Sampler. A span outside a request, such as
// that of a probe's PING, is not recorded.
func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	result := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: parent.TraceState()}
	request := requestTraceFrom(p.ParentContext)
	switch {
	case request == nil:
		return result
	case parent.IsValid() && !parent.IsRemote():
		if trace.SpanFromContext(p.ParentContext).IsRecording() {
			result.Decision = recordOnly(parent.IsSampled())
		}
		return result
	}
	sampled := parent.IsSampled() // of a trusted caller: others start a trace of their own
	if !parent.IsValid() {
		sampled = s.ratio.ShouldSample(p).Decision == sdktrace.RecordAndSample
	}
	request.sampled = sampled
	if (sampled || s.keep) && s.active.Load() < maxRecording {
		result.Decision = recordOnly(sampled)
	}
	return result
}

func recordOnly(sampled bool) sdktrace.SamplingDecision {
	if sampled {
		return sdktrace.RecordAndSample
	}
	return sdktrace.RecordOnly
}

// fate decides at a request's end what becomes of its trace. Without keeping,
// the ratio alone decides. What found no room to be recorded is counted as such
// where it would have been exported or subject to the cap.
func (s *sampler) fate(recorded, sampled bool, d middleware.Decision) string {
	kind := s.kind(d)
	forwarded := d.Stage == middleware.StageProxy || d.Outcome.Verdict() == middleware.Bypass
	chosen := sampled && (forwarded || !s.keep)
	switch {
	case !chosen && (!s.keep || kind == ""):
		return fateNotSampled
	case !recorded:
		return fateNoRoom
	case chosen:
		return fateSampled
	case s.cap.allow(kind):
		return fateKept
	}
	return fateOverCap
}

// kind says for what a request is worth keeping; "" for nothing.
func (s *sampler) kind(d middleware.Decision) string {
	verdict := d.Outcome.Verdict()
	switch {
	case verdict == middleware.Fail:
		return kindFailed
	case d.Status >= http.StatusInternalServerError:
		return kindUpstream // the backend's own answer
	case verdict != middleware.Allow:
		return d.Stage
	case s.isSlow(d.Elapsed):
		return kindSlow
	}
	return ""
}

func (s *sampler) isSlow(elapsed time.Duration) bool { return s.slow > 0 && elapsed >= s.slow }

// mayBecomeSlow reports whether a request whose response has begun is worth
// waiting for. Where slow is more than slowWait, that would cost too much room:
// then only requests that are slow before their response begins are kept for it.
func (s *sampler) mayBecomeSlow(elapsed time.Duration) bool {
	return s.slow <= slowWait && elapsed < s.slow
}
