package visitor_test

import (
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
)

func TestPlausibleTime(t *testing.T) {
	t.Parallel()

	received := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	first := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"when received", received, true},
		{"in another zone", received.In(time.FixedZone("", 3600)), true},
		{"years before", received.AddDate(-9, 0, 0), true},
		{"the first moment", first, true},
		{"before the first moment", first.Add(-1), false},
		{"seconds read as milliseconds", time.UnixMilli(received.Unix()), false},
		{"unset", time.Time{}, false},
		{"a clock ahead", received.Add(5 * time.Minute), true},
		{"further ahead", received.Add(5*time.Minute + 1), false},
	} {
		if got := visitor.PlausibleTime(tc.at, received); got != tc.want {
			t.Errorf("%s: PlausibleTime = %t, want %t", tc.name, got, tc.want)
		}
	}
}
