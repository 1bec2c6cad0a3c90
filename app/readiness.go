package app

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// readinessPause is the least time between two lines about readiness: a Redis
// at the edge of its timeout may fail every other probe, and anybody may probe.
const readinessPause = time.Second

// readiness is whether Redis answered last, kept so that the log has the changes
// and not the probes. Draining is no part of it: the stop has lines of its own.
type readiness struct {
	log *logrus.Logger

	mu    sync.Mutex
	known bool
	ready bool      // what the log says
	asked time.Time // when the newest check began
	told  time.Time // when the last line was written
}

// note logs the outcome of a check if it is news. A change that comes too soon
// is left to the next check.
func (r *readiness) note(asked, answered time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if asked.Before(r.asked) {
		return // it only took longer than one that began later
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

// checkStore asks whether Redis answers what requests ask, and notes it. It asks
// over a connection of its own: a probe that waits behind the requests would
// call Redis gone when the gateway is busy, and have the load balancer move that
// load to the others. Probes that come together share one answer, because
// anybody may probe.
func (g *Gateway) checkStore(ctx context.Context) error {
	_, err, _ := g.asking.Do("", func() (any, error) {
		asked := time.Now()
		err := g.redis.Probe(ctx)
		// A check that the stop ended says nothing about Redis.
		if !g.draining.Load() {
			g.readiness.note(asked, time.Now(), err)
		}
		return nil, err
	})
	return err
}

// redisChanged logs that Redis fell silent, or that it answers again.
func (g *Gateway) redisChanged(reason error) {
	if reason != nil {
		g.log.WithError(reason).Warn("Redis is silent")
		return
	}
	g.log.Info("Redis answers again")
}
