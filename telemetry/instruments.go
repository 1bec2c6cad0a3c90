package telemetry

import (
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

func newHistogram(meter metric.Meter, name string) (metric.Float64Histogram, error) {
	m := metricNamed(name)
	histogram, err := meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning),
		metric.WithExplicitBucketBoundaries(m.Buckets...))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", m.Name, err)
	}
	return histogram, nil
}

func newCounter(meter metric.Meter, name string) (metric.Int64Counter, error) {
	m := metricNamed(name)
	counter, err := meter.Int64Counter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", m.Name, err)
	}
	return counter, nil
}
