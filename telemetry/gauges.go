package telemetry

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/metric"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/logging"
	"tyk_proxy/telemetry/names"
)

// degradedFor is how long a stage counts as degraded after it last failed: as
// long as Prometheus' usual scrape interval, so that no failure falls between
// two scrapes.
const degradedFor = 15 * time.Second

// degraded knows which stages lately failed or were bypassed.
type degraded struct {
	last map[string]*atomic.Int64 // Unix nanoseconds
	now  func() time.Time
}

func newDegraded() *degraded {
	d := &degraded{last: make(map[string]*atomic.Int64), now: time.Now}
	for _, stage := range middleware.StageNames() {
		d.last[stage] = &atomic.Int64{}
	}
	return d
}

func (d *degraded) mark(stage string) {
	if last, ok := d.last[stage]; ok {
		last.Store(d.now().UnixNano())
	}
}

func (d *degraded) observe(o observation) {
	now := d.now()
	for stage, last := range d.last {
		at := last.Load()
		o(oneIf(at != 0 && now.Sub(time.Unix(0, at)) < degradedFor), names.AttrStage.String(stage))
	}
}

// ClockOffset reports how far the limiter's clock is ahead of this process'.
func (p *Providers) ClockOffset(offset func() time.Duration) error {
	m := names.MetricNamed(names.MetricClockOffset)
	_, err := p.Meters.Meter(names.Scope).Float64ObservableGauge(m.Name,
		metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(offset().Seconds())
			return nil
		}))
	if err != nil {
		return fmt.Errorf("creating %s: %w", m.Name, err)
	}
	return nil
}

// observeLog reports how many lines of the log were dropped.
func (p *Providers) observeLog(log *logrus.Logger) error {
	dropped := func() int64 { return 0 }
	if writer, ok := log.Out.(*logging.Writer); ok {
		dropped = writer.Dropped
	}
	return p.observe(names.MetricLogDropped, func(o observation) { o(dropped()) })
}
