package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/usherhq/usher/internal/dispatch"
)

// measured collects all metrics: their points by name and attributes.
func measured(t *testing.T, r *sdk.ManualReader) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			if m.Unit == "" || m.Description == "" {
				t.Errorf("%s has no unit or description", m.Name)
			}
			add := func(set attribute.Set, v float64) {
				out[fmt.Sprint(m.Name, " ", set.Encoded(attribute.DefaultEncoder()))] = v
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
				if !d.IsMonotonic {
					t.Errorf("%s is no counter", m.Name)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value)
				}
			default:
				t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reader := sdk.NewManualReader()
		f := flood(t, func(o *dispatch.Options) {
			o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
		})
		lane := fmt.Sprint("lane=overflow-", dispatch.OverflowLane("t1"))
		f.of(t, "t1", 0, 7) // 5 are held, 2 are shed
		f.lane().err = errors.New("refused")
		f.of(t, "t1", 7, 1)
		f.of(t, "quiet", 8, 1)
		shed := message(t, event("evt_shed", "quiet", "ada"))
		f.Overflow(1)(t.Context(), shed)
		time.Sleep(3 * time.Second)
		got := measured(t, reader)
		want := map[string]float64{
			"usher.messages lane=main,outcome=shed":         2,
			"usher.messages lane=main,outcome=stored":       1,
			"usher.messages lane=overflow-1,outcome=stored": 1,
			"usher.shed " + lane + ",result=published":      2,
			"usher.shed " + lane + ",result=failed":         1,
			"usher.lane.outstanding lane=main":              6,
			"usher.oldest_unfinished ":                      3,
		}
		for name, n := range want {
			if got[name] != n {
				t.Errorf("%s is %v, want %v", name, got[name], n)
			}
		}
		if n := got["usher.lane.outstanding_bytes lane=main"]; n < 6*100 {
			t.Errorf("%v bytes of 6 messages", n)
		}
		close(f.release)
		f.wg.Wait()
		got = measured(t, reader)
		want = map[string]float64{
			"usher.messages lane=main,outcome=shed": 2, "usher.messages lane=main,outcome=stored": 7,
			"usher.messages lane=overflow-1,outcome=stored": 1, "usher.oldest_unfinished ": 0,
		}
		for _, l := range []string{"main", "overflow-0", "overflow-1", "overflow-2", "overflow-3"} {
			want["usher.lane.outstanding lane="+l], want["usher.lane.outstanding_bytes lane="+l] = 0, 0
			if l != "main" {
				want["usher.shed lane="+l+",result=published"], want["usher.shed lane="+l+",result=failed"] = 0, 0
			}
		}
		want["usher.shed "+lane+",result=published"], want["usher.shed "+lane+",result=failed"] = 2, 1
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at the end, and no attribute is a tenant (-want +got):\n%s", diff)
		}
		f.Close()
		if got := measured(t, reader); len(got) != 0 {
			t.Errorf("after Close there is still %v", got)
		}
	})
}

// brokenMeter makes no instruments, as a broken set-up may.
type brokenMeter struct{ noop.Meter }

func (brokenMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, errors.New("no instruments")
}

func TestMetricsMayFail(t *testing.T) {
	t.Parallel()
	var all dispatch.Options
	setup(t, nil, func(o *dispatch.Options) { all = *o })
	all.Meter = brokenMeter{}
	if _, err := dispatch.New(all); err == nil || err.Error() != "dispatch: metrics: no instruments\nno instruments" {
		t.Errorf("New: %v", err)
	}
}
