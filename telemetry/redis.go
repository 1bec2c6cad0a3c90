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
	return nil
}

// EveryCommand is the instrument of a client all of whose commands pass through
// its hooks.
type EveryCommand struct{}

// Traced reports true.
func (EveryCommand) Traced(context.Context) bool { return true }

// Command does nothing, since the hooks have seen the command.
func (EveryCommand) Command(context.Context, string, time.Time, time.Duration, error) {}

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
		for _, errorType := range []string{"", "timeout", "overloaded", "network", "reply"} {
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
	case errors.Is(err, redis.ErrAutoPipelineQueueFull):
		return "overloaded"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &reply):
		return "reply"
	default:
		return "network"
	}
}

// PipelineStats is what the shared connection to Redis has done since the start,
// and what it does now; see redisstore.Stats.
type PipelineStats struct {
	Queued, Waiting                     int64
	Silent                              bool
	Commands, Batches, Refused, Changes uint64
	CacheHits, CacheMisses              uint64
	CacheEntries                        int64
}

// RedisPipeline reports the state of the shared connection to Redis and of the
// client-side cache.
func (p *Providers) RedisPipeline(read func() PipelineStats) error {
	meter := p.Meters.Meter(scope)
	values := map[string]func(PipelineStats) int64{
		metricRedisQueued:   func(s PipelineStats) int64 { return s.Queued },
		metricRedisWaiting:  func(s PipelineStats) int64 { return s.Waiting },
		metricRedisCommands: func(s PipelineStats) int64 { return int64(s.Commands) }, //nolint:gosec // a count of this process
		metricRedisBatches:  func(s PipelineStats) int64 { return int64(s.Batches) },  //nolint:gosec // the same
		metricRedisRefused:  func(s PipelineStats) int64 { return int64(s.Refused) },  //nolint:gosec // the same
		metricRedisChanges:  func(s PipelineStats) int64 { return int64(s.Changes) },  //nolint:gosec // the same
		metricRedisSilent: func(s PipelineStats) int64 {
			if s.Silent {
				return 1
			}
			return 0
		},
		metricCacheHits:    func(s PipelineStats) int64 { return int64(s.CacheHits) },   //nolint:gosec // the same
		metricCacheMisses:  func(s PipelineStats) int64 { return int64(s.CacheMisses) }, //nolint:gosec // the same
		metricCacheEntries: func(s PipelineStats) int64 { return s.CacheEntries },
	}
	instruments := make(map[string]metric.Int64Observable, len(values))
	observed := make([]metric.Observable, 0, len(values))
	for name := range values {
		instrument, err := newObservable(meter, metricNamed(name))
		if err != nil {
			return fmt.Errorf("creating the metric %s: %w", name, err)
		}
		instruments[name] = instrument
		observed = append(observed, instrument)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stats := read()
		for name, value := range values {
			o.ObserveInt64(instruments[name], value(stats))
		}
		return nil
	}, observed...)
	if err != nil {
		return fmt.Errorf("observing the connection to Redis: %w", err)
	}
	return nil
}

func newObservable(meter metric.Meter, m Metric) (metric.Int64Observable, error) {
	if m.Kind == KindCounter {
		return meter.Int64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	}
	if m.Kind == KindGauge {
		return meter.Int64ObservableGauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	}
	return meter.Int64ObservableUpDownCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
}
