package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
)

// exemplars is the filter of the meter provider: a measurement may carry its
// trace's id only if that trace will be exported, so that an exemplar never
// leads nowhere.
func exemplars(ctx context.Context) bool {
	t := requestTraceFrom(ctx)
	return t != nil && t.exported.Load()
}

// plainReservoir keeps exemplars without the labels that a view filtered away.
// The SDK would put those on the exemplar: values of the client's would be on
// /metrics after all, and OpenMetrics allows an exemplar no more than 128
// characters, so that it would be lost.
type plainReservoir struct{ exemplar.Reservoir }

// Offer implements exemplar.Reservoir.
func (r plainReservoir) Offer(ctx context.Context, at time.Time, value exemplar.Value, _ []attribute.KeyValue) {
	r.Reservoir.Offer(ctx, at, value, nil)
}

func plainReservoirs(aggregation sdkmetric.Aggregation) exemplar.ReservoirProvider {
	provider := sdkmetric.DefaultExemplarReservoirProviderSelector(aggregation)
	return func(attrs attribute.Set) exemplar.Reservoir { return plainReservoir{provider(attrs)} }
}
