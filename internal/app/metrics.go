package app

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/telemetry"
)

// StartMetrics makes the process's meters the global ones, before anything is built that measures. The function that it
// returns exports what is left, unless the daemon has done so already.
func StartMetrics(ctx context.Context, component string, logger *slog.Logger) (stop func(), err error) {
	m, err := telemetry.NewMeterProvider(ctx, component, Version())
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.WarnContext(ctx, "metrics cannot be exported",
			"error", err)
	}))
	otel.SetMeterProvider(m)
	return func() { stopMetrics(ctx) }, nil
}

// stopMetrics exports the last metrics, within [config.FlushTime], even when ctx has ended. What cannot be exported then is
// logged and lost: no reason to fail.
func stopMetrics(ctx context.Context) {
	m, ok := otel.GetMeterProvider().(*telemetry.Meters)
	if !ok {
		return
	}
	last, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), config.FlushTime, errFlush)
	defer cancel()
	if err := m.Shutdown(last); err != nil {
		otel.Handle(err)
	}
}

var errFlush = errors.New("the last metrics were not exported in time")
