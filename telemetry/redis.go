package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.24.0" // the version that redisotel uses

	"tyk_proxy/telemetry/names"
)

// RedisInstrument measures every Redis command. It implements
// redisstore.Instrument and is safe for concurrent use.
type RedisInstrument struct {
	duration metric.Float64Histogram
	ready    *readyOptions[commandOutcome]
}

// Redis instruments the client that sends the commands of sampled requests, and
// returns the instrument for all commands. redisotel makes the spans: without
// statements, because they contain api keys, and without callers, because
// walking the stack costs more than everything else. Metrics are not
// redisotel's, which are in milliseconds and have outdated names.
func (p *Providers) Redis(client *redis.Client) (*RedisInstrument, error) {
	if err := redisotel.InstrumentTracing(client,
		redisotel.WithTracerProvider(redactingTracers{p.Tracers}),
		redisotel.WithDBStatement(false),
		redisotel.WithCallerEnabled(false),
		redisotel.WithDialFilter(true),
	); err != nil {
		return nil, fmt.Errorf("tracing Redis: %w", err)
	}
	address := client.Options().Addr
	p.redisAttributes = append(addressAttributes(address),
		semconv.DBSystemRedis, semconv.DBConnectionString("redis://"+address))
	duration, err := newHistogram(p.Meters.Meter(names.Scope), names.MetricDBDuration)
	if err != nil {
		return nil, err
	}
	return &RedisInstrument{duration: duration, ready: newReadyOptions(commandLabels)}, nil
}

// Traced reports whether a command belongs to a sampled request.
func (*RedisInstrument) Traced(ctx context.Context) bool {
	req := requestFrom(ctx)
	return req != nil && req.sampled
}

// Command measures a command. If its request is not sampled it also records the
// call for a kept trace.
func (i *RedisInstrument) Command(ctx context.Context, name string, started time.Time, elapsed time.Duration, err error) {
	i.duration.Record(ctx, elapsed.Seconds(), i.ready.of(commandOutcome{operationLabel(name), redisErrorType(err)})...)
	if req := requestFrom(ctx); req != nil && !req.sampled {
		req.note(call{name: name, started: started, elapsed: elapsed, err: err})
	}
}

type commandOutcome struct{ operation, errorType string }

// commandLabels are the labels of db.client.operation.duration.
func commandLabels(o commandOutcome) []attribute.KeyValue {
	labels := []attribute.KeyValue{names.AttrDBSystem.String("redis"), names.AttrDBOp.String(o.operation)}
	if o.errorType != "" {
		labels = append(labels, names.AttrErrorType.String(o.errorType))
	}
	return labels
}

// operationLabel limits the values of the label: a command that the gateway does
// not send is "_OTHER".
func operationLabel(name string) string {
	switch name {
	case "GETRANGE", "EVALSHA", "EVAL", "PING":
		return name
	}
	return names.Other
}

// redisErrorType returns the error.type of a command. It returns "" if Redis
// answered with a value, or with NOSCRIPT, after which the client sends the
// whole script.
func redisErrorType(err error) string {
	if err == nil {
		return ""
	}
	var reply redis.Error
	var network net.Error
	switch {
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"):
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

// PipelineStats are counts since the start and the current state of the shared
// connection to Redis; see redisstore.Stats.
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
	values := map[string]func(PipelineStats) float64{
		names.MetricRedisQueued:   func(s PipelineStats) float64 { return float64(s.Queued) },
		names.MetricRedisWaiting:  func(s PipelineStats) float64 { return float64(s.Waiting) },
		names.MetricRedisCommands: func(s PipelineStats) float64 { return float64(s.Commands) },
		names.MetricRedisBatches:  func(s PipelineStats) float64 { return float64(s.Batches) },
		names.MetricRedisRefused:  func(s PipelineStats) float64 { return float64(s.Refused) },
		names.MetricRedisChanges:  func(s PipelineStats) float64 { return float64(s.Changes) },
		names.MetricRedisSilent:   func(s PipelineStats) float64 { return oneIf(s.Silent) },
		names.MetricCacheHits:     func(s PipelineStats) float64 { return float64(s.CacheHits) },
		names.MetricCacheMisses:   func(s PipelineStats) float64 { return float64(s.CacheMisses) },
		names.MetricCacheEntries:  func(s PipelineStats) float64 { return float64(s.CacheEntries) },
	}
	for name, value := range values {
		if err := p.observe(name, func(o observation) { o(value(read())) }); err != nil {
			return err
		}
	}
	return nil
}

func oneIf(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
