package telemetry

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// linesPerSecond limits the log lines of each stage and reason. The lines of
// allowed requests are not limited.
const linesPerSecond = 10

// accessLog writes one line per request, up to a limit for each stage and reason.
// The next line after omitted lines, at most a second later, reports their
// number. It is safe for concurrent use.
type accessLog struct {
	log *logrus.Logger

	mu    sync.Mutex
	gates map[gateKey]*gate
}

// gateKey is what the limit of lines applies to.
type gateKey struct {
	stage  string
	reason middleware.Reason
}

type gate struct {
	limiter    *rate.Limiter
	suppressed int64
	pending    bool // a timer will report suppressed
}

func newAccessLog(log *logrus.Logger) *accessLog {
	return &accessLog{log: log, gates: make(map[gateKey]*gate)}
}

// write writes the line of a request. It calls fields only if it writes.
func (l *accessLog) write(d middleware.Result, fields func() logrus.Fields) {
	level := levelOf(d.Outcome.Verdict())
	if !l.log.IsLevelEnabled(level) {
		return
	}
	suppressed := int64(0)
	if d.Outcome.Verdict() != middleware.Allow {
		var pass bool
		if suppressed, pass = l.pass(gateKey{d.Stage, d.Outcome.Reason}); !pass {
			return
		}
	}
	line := fields()
	if suppressed > 0 {
		line[string(names.AttrSuppressed)] = suppressed
	}
	l.log.WithFields(line).Log(level, names.MessageDecision)
}

// pass reports whether a line may be written, and the number of lines omitted
// since the last one.
func (l *accessLog) pass(key gateKey) (suppressed int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.gates[key]
	if g == nil {
		g = &gate{limiter: rate.NewLimiter(linesPerSecond, linesPerSecond)}
		l.gates[key] = g
	}
	if !g.limiter.Allow() {
		g.suppressed++
		if !g.pending {
			g.pending = true
			time.AfterFunc(time.Second, func() { l.report(key, g) })
		}
		return 0, false
	}
	suppressed, g.suppressed = g.suppressed, 0
	return suppressed, true
}

// flush reports the omitted lines at the shutdown.
func (l *accessLog) flush() {
	l.mu.Lock()
	gates := maps.Clone(l.gates)
	l.mu.Unlock()
	for key, g := range gates {
		l.report(key, g)
	}
}

// report writes the number of omitted lines, if no later line has.
func (l *accessLog) report(key gateKey, g *gate) {
	l.mu.Lock()
	suppressed := g.suppressed
	g.suppressed, g.pending = 0, false
	l.mu.Unlock()
	if suppressed == 0 {
		return
	}
	info := key.reason.Info()
	l.log.WithFields(logrus.Fields{
		string(names.AttrStage):      key.stage,
		string(names.AttrVerdict):    info.Verdict.String(),
		string(names.AttrReason):     info.Name,
		string(names.AttrSuppressed): suppressed,
	}).Log(levelOf(info.Verdict), names.MessageSuppressed)
}

// fields returns the fields of a request's line. They have the names of the
// span's attributes.
func (r *Recorder) fields(req *requestState, ex *middleware.Exchange, d middleware.Result) logrus.Fields {
	fields := logrus.Fields{
		string(names.AttrMethod):   methodLabel(ex.Request.Method),
		string(names.AttrRoute):    ex.Route,
		string(names.AttrStatus):   d.Status,
		string(names.AttrBodySize): d.Bytes,
		names.LogDuration:          d.Elapsed.Seconds(),
		string(names.AttrStage):    d.Stage,
		string(names.AttrVerdict):  d.Outcome.Verdict().String(),
		string(names.AttrReason):   d.Outcome.Reason.String(),
		names.LogTraceID:           req.hexID(),
		names.LogSpanID:            req.spanID.String(),
	}
	if ex.Claims.APIKey != "" {
		fields[string(names.AttrKeyID)] = r.keyID(req, ex)
	}
	if ex.Quota.Window > 0 {
		fields[string(names.AttrLimit)], fields[string(names.AttrRemaining)] = ex.Quota.Limit, ex.Quota.Remaining()
		fields[string(names.AttrReset)], fields[string(names.AttrWindow)] = ex.Quota.Reset.Seconds(), ex.Quota.Window.Seconds()
		fields[string(names.AttrSource)] = ex.Quota.Source
	}
	if n := malformedRules(ex); n > 0 && d.Stage == middleware.StageRouteCheck {
		fields[string(names.AttrMalformedRules)] = n
	}
	if verdict := d.Outcome.Verdict(); d.Outcome.Err != nil && verdict != middleware.Deny {
		fields[names.LogError] = middleware.Redact(d.Outcome.Err.Error())
		var fault *middleware.PanicError
		if errors.As(d.Outcome.Err, &fault) {
			fields[names.LogStack] = string(fault.Stack)
		}
	}
	return fields
}

// malformedRules returns the number of invalid rules in the record's
// allowed_routes, which may be the cause of a denial.
func malformedRules(ex *middleware.Exchange) int {
	if ex.Record == nil {
		return 0
	}
	return ex.Record.Routes.Malformed()
}

// levelOf returns the log level of a verdict. Only failures are errors.
func levelOf(v middleware.Verdict) logrus.Level {
	switch v {
	case middleware.Allow:
		return logrus.DebugLevel
	case middleware.Deny:
		return logrus.InfoLevel
	case middleware.Bypass:
		return logrus.WarnLevel
	case middleware.Fail:
	}
	return logrus.ErrorLevel
}
