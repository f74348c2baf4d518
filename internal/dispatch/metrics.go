package dispatch

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// measure has the meter observe the dispatcher. Everything is counted anyway, so a metric costs its messages nothing.
// No attribute is a tenant: there can be any number of them.
func (d *Dispatcher) measure(m metric.Meter) (metric.Registration, error) {
	if m == nil {
		m = noop.Meter{}
	}
	messages, err1 := m.Int64ObservableCounter("usher.messages", metric.WithUnit("{message}"),
		metric.WithDescription("messages received, by lane and outcome"))
	shed, err2 := m.Int64ObservableCounter("usher.shed", metric.WithUnit("{message}"),
		metric.WithDescription("messages that were to be shed, by overflow lane and result: published, or failed and processed in place"))
	held, err3 := m.Int64ObservableGauge("usher.lane.outstanding", metric.WithUnit("{message}"),
		metric.WithDescription("messages held, by lane"))
	bytes, err4 := m.Int64ObservableGauge("usher.lane.outstanding_bytes", metric.WithUnit("By"),
		metric.WithDescription("bytes of messages held, by lane"))
	oldest, err5 := m.Float64ObservableGauge("usher.oldest_unfinished", metric.WithUnit("s"),
		metric.WithDescription("age of the oldest unfinished message of all lanes"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		out := d.window.outstanding()
		for l := range lane(lanes) {
			name := attribute.String("lane", laneNames[l])
			for i := range outcomes {
				if n := d.ended[l][i].Load(); n > 0 {
					o.ObserveInt64(messages, n, metric.WithAttributes(name, attribute.String("outcome", outcomeNames[i])))
				}
			}
			o.ObserveInt64(held, int64(out[l][inMessages]), metric.WithAttributes(name))
			o.ObserveInt64(bytes, int64(out[l][inBytes]), metric.WithAttributes(name))
		}
		for n := range d.overflow {
			name := attribute.String("lane", laneNames[overflow(n)])
			o.ObserveInt64(shed, d.overflow[n].published.Load(), metric.WithAttributes(name, attribute.String("result", "published")))
			o.ObserveInt64(shed, d.overflow[n].failed.Load(), metric.WithAttributes(name, attribute.String("result", "failed")))
		}
		o.ObserveFloat64(oldest, d.window.age().Seconds())
		return nil
	}, messages, shed, held, bytes, oldest)
}
