package telemetry

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Meters are a process's metrics.
type Meters struct {
	metric.MeterProvider
	end      sync.Once
	shutdown func(context.Context) error
}

// NewMeterProvider returns the meters of a component, exported as OTEL_METRICS_EXPORTER says: otlp, prometheus or console,
// each with OpenTelemetry's own variables; none, which is the default, costs nothing. Their service is usher-<component>
// unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise.
func NewMeterProvider(ctx context.Context, component, version string) (*Meters, error) {
	none := sdkmetric.NewManualReader()
	reader, err := autoexport.NewMetricReader(ctx, autoexport.WithFallbackMetricReader(
		func(context.Context) (sdkmetric.Reader, error) { return none, nil }))
	if err != nil {
		return nil, fmt.Errorf("OTEL_METRICS_EXPORTER: want otlp, prometheus, console or none: %w", err)
	}
	if reader == none || autoexport.IsNoneMetricReader(reader) {
		return &Meters{MeterProvider: noop.NewMeterProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "usher-"+component), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // the last one wins
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(res))
	return &Meters{MeterProvider: p, shutdown: p.Shutdown}, nil
}

// Shutdown exports what was measured since the last export, and ends. Again it does nothing.
func (m *Meters) Shutdown(ctx context.Context) (err error) {
	m.end.Do(func() {
		if err = m.shutdown(ctx); err != nil {
			err = fmt.Errorf("export the last metrics: %w", err)
		}
	})
	return err
}
