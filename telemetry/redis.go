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
	semconv "go.opentelemetry.io/otel/semconv/v1.24.0" // the version that redisotel speaks

	"tyk_proxy/telemetry/names"
)

// RedisInstrument learns of every Redis command. It implements
// redisstore.Instrument.
type RedisInstrument struct {
	duration metric.Float64Histogram
	ready    *readyOptions[commandOutcome]
}

// Redis instruments the client that the commands of sampled requests pass, and
// returns the instrument of all commands. Spans come from redisotel, without
// statements, which contain api keys, and without callers, since walking the
// stack costs more than all the rest. Metrics are our own: redisotel's are in
// milliseconds and under names that semantic conventions have left behind.
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

// Command measures a command, and notes it if its request is not sampled.
func (i *RedisInstrument) Command(ctx context.Context, name string, started time.Time, elapsed time.Duration, err error) {
	i.duration.Record(ctx, elapsed.Seconds(), i.ready.of(commandOutcome{operationLabel(name), redisErrorType(err)})...)
	if req := requestFrom(ctx); req != nil && !req.sampled {
		req.note(call{name: name, started: started, elapsed: elapsed, err: err})
	}
}

type commandOutcome struct{ operation, errorType string }

func commandLabels(o commandOutcome) []attribute.KeyValue {
	labels := []attribute.KeyValue{names.AttrDBSystem.String("redis"), names.AttrDBOp.String(o.operation)}
	if o.errorType != "" {
		labels = append(labels, names.AttrErrorType.String(o.errorType))
	}
	return labels
}

// operationLabel keeps the label a closed set: a command that the gateway does
// not send is "_OTHER".
func operationLabel(name string) string {
	switch name {
	case "GETRANGE", "EVALSHA", "EVAL", "PING":
		return name
	}
	return names.Other
}

// redisErrorType is the error.type of a command: "" if Redis answered with a
// value, or with NOSCRIPT, after which the script is sent in full.
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

// redisSpanName is the name that redisotel gives a command's span.
func redisSpanName(name string) string { return strings.ToLower(name) }

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
	count := func(n uint64) int64 { return int64(n) } //nolint:gosec // a count of this process
	values := map[string]func(PipelineStats) int64{
		names.MetricRedisQueued:   func(s PipelineStats) int64 { return s.Queued },
		names.MetricRedisWaiting:  func(s PipelineStats) int64 { return s.Waiting },
		names.MetricRedisCommands: func(s PipelineStats) int64 { return count(s.Commands) },
		names.MetricRedisBatches:  func(s PipelineStats) int64 { return count(s.Batches) },
		names.MetricRedisRefused:  func(s PipelineStats) int64 { return count(s.Refused) },
		names.MetricRedisChanges:  func(s PipelineStats) int64 { return count(s.Changes) },
		names.MetricRedisSilent:   func(s PipelineStats) int64 { return oneIf(s.Silent) },
		names.MetricCacheHits:     func(s PipelineStats) int64 { return count(s.CacheHits) },
		names.MetricCacheMisses:   func(s PipelineStats) int64 { return count(s.CacheMisses) },
		names.MetricCacheEntries:  func(s PipelineStats) int64 { return s.CacheEntries },
	}
	for name, value := range values {
		if err := p.observe(name, func(o observation) { o(value(read())) }); err != nil {
			return err
		}
	}
	return nil
}

func oneIf(set bool) int64 {
	if set {
		return 1
	}
	return 0
}
