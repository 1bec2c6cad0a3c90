package app

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// readinessPause is the minimum time between two log lines about readiness. Any
// client may probe, and a slow Redis may fail every other probe.
const readinessPause = time.Second

// readiness is the result of the last check of Redis. It exists so that changes
// are logged and not every probe. It does not cover draining, which stop logs.
type readiness struct {
	log *logrus.Logger

	mu    sync.Mutex
	known bool
	ready bool      // as logged
	asked time.Time // when the latest check began
	told  time.Time // when the last line was logged
}

// note logs the result of a check if it has changed. A change within
// readinessPause of the last line is logged by the next check.
func (r *readiness) note(asked, answered time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if asked.Before(r.asked) {
		return // a check that began later has already ended
	}
	r.asked = asked
	if r.known && (r.ready == (err == nil) || answered.Sub(r.told) < readinessPause) {
		return
	}
	r.known, r.ready, r.told = true, err == nil, answered
	if err != nil {
		r.log.WithField("reason", notReadyStore).WithError(err).Warn("not ready")
		return
	}
	r.log.Info("ready")
}

// checkStore checks whether Redis answers the commands that requests need. It
// uses a separate connection: a probe in the queue of the requests would fail
// when the gateway is busy, and the load balancer would then overload the other
// gateways. Concurrent probes share one check, because any client may probe.
func (g *Gateway) checkStore(ctx context.Context) error {
	_, err, _ := g.storeCheck.Do("", func() (any, error) {
		asked := time.Now()
		err := g.redis.Probe(ctx)
		// The stop may have interrupted the check.
		if !g.draining.Load() {
			g.readiness.note(asked, time.Now(), err)
		}
		return nil, err
	})
	return err
}

// redisChanged logs that Redis stopped answering, or that it answers again.
func (g *Gateway) redisChanged(reason error) {
	if reason != nil {
		g.log.WithError(reason).Warn("Redis is silent")
		return
	}
	g.log.Info("Redis answers again")
}
