package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Redis instruments a client. Spans come from redisotel, without statements,
// which contain api keys, and without callers, since walking the stack costs
// more than all the rest. Metrics are our own: redisotel's are in milliseconds
// and under names that semantic conventions have left behind.
func (p *Providers) Redis(client *redis.Client) error {
	if err := redisotel.InstrumentTracing(client,
		redisotel.WithTracerProvider(discreetTracers{p.Tracers}),
		redisotel.WithDBStatement(false),
		redisotel.WithCallerEnabled(false),
		redisotel.WithDialFilter(true),
	); err != nil {
		return fmt.Errorf("tracing Redis: %w", err)
	}
	meter := p.Meters.Meter(scope)
	duration, err := newHistogram(meter, metricDBDuration)
	if err != nil {
		return err
	}
	client.AddHook(newCommandTimer(duration))
	return observePool(meter, client)
}

// commandTimer is a go-redis hook that times commands.
type commandTimer struct {
	duration metric.Float64Histogram
	options  map[commandOutcome][]metric.RecordOption
}

type commandOutcome struct{ operation, errorType string }

// The commands that the gateway sends, and how they can end. Others are
// "_OTHER": the sets are closed because both become labels.
func newCommandTimer(duration metric.Float64Histogram) *commandTimer {
	t := &commandTimer{duration: duration, options: make(map[commandOutcome][]metric.RecordOption)}
	for _, operation := range []string{"GETRANGE", "EVALSHA", "EVAL", "PING", other} {
		for _, errorType := range []string{"", "timeout", "pool", "network", "reply"} {
			labels := []attribute.KeyValue{attrDBSystem.String("redis"), attrDBOp.String(operation)}
			if errorType != "" {
				labels = append(labels, attrErrorType.String(errorType))
			}
			t.options[commandOutcome{operation, errorType}] = []metric.RecordOption{
				metric.WithAttributeSet(attribute.NewSet(labels...)),
			}
		}
	}
	return t
}

// DialHook implements redis.Hook.
func (*commandTimer) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (*commandTimer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (t *commandTimer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		started := time.Now()
		err := next(ctx, cmd)
		elapsed := time.Since(started)
		outcome := commandOutcome{strings.ToUpper(cmd.Name()), redisErrorType(err)}
		options, ok := t.options[outcome]
		if !ok {
			options = t.options[commandOutcome{other, outcome.errorType}]
		}
		if req := requestFrom(ctx); req != nil && !req.sampled {
			req.note(call{name: cmd.Name(), started: started, elapsed: elapsed, err: err})
		}
		t.duration.Record(ctx, elapsed.Seconds(), options...)
		return err
	}
}

// redisErrorType is the error.type of a command: "" where Redis answered with a
// value, or with NOSCRIPT, which go-redis heals by itself.
func redisErrorType(err error) string {
	var reply redis.Error
	var network net.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"):
		return ""
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		return "pool"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &reply):
		return "reply"
	default:
		return "network"
	}
}

// observePool reports the state of the client's connection pool.
func observePool(meter metric.Meter, client *redis.Client) error {
	gauge := func(name string) (metric.Int64ObservableUpDownCounter, error) {
		m := metricNamed(name)
		return meter.Int64ObservableUpDownCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	}
	count, err1 := gauge(metricPoolCount)
	most, err2 := gauge(metricPoolMax)
	pending, err3 := gauge(metricPoolPending)
	m := metricNamed(metricPoolTimeouts)
	timeouts, err4 := meter.Int64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return fmt.Errorf("creating the pool's metrics: %w", err)
	}
	pool := attrPoolName.String(client.Options().Addr)
	all := metric.WithAttributeSet(attribute.NewSet(pool))
	idle := metric.WithAttributeSet(attribute.NewSet(pool, attrPoolState.String("idle")))
	used := metric.WithAttributeSet(attribute.NewSet(pool, attrPoolState.String("used")))
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stats := client.PoolStats()
		o.ObserveInt64(count, int64(stats.IdleConns), idle)
		o.ObserveInt64(count, int64(stats.TotalConns)-int64(stats.IdleConns), used)
		o.ObserveInt64(most, int64(client.Options().PoolSize), all)
		o.ObserveInt64(pending, int64(stats.PendingRequests), all)
		o.ObserveInt64(timeouts, int64(stats.Timeouts), all)
		return nil
	}, count, most, pending, timeouts)
	if err != nil {
		return fmt.Errorf("observing the pool: %w", err)
	}
	return nil
}
