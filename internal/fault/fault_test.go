package fault_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/fault"
)

func strikes(i *fault.Injector, k fault.Kind, n int) (got []bool) {
	for range n {
		got = append(got, i.Strike(k))
	}
	return got
}

func TestSameSeedSameFaults(t *testing.T) {
	t.Parallel()
	plan := fault.Plan{fault.Aborted: 0.5}
	first := strikes(fault.New(1, plan), fault.Aborted, 64)
	if d := cmp.Diff(first, strikes(fault.New(1, plan), fault.Aborted, 64)); d != "" {
		t.Errorf("same seed: %s", d)
	}
	if cmp.Equal(first, strikes(fault.New(2, plan), fault.Aborted, 64)) {
		t.Error("another seed gave the same faults")
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	const n = 10_000
	tests := []struct {
		name     string
		rate     float64
		min, max int
	}{
		{"never", 0, 0, 0},
		{"sometimes", 0.2, n / 6, n / 4},
		{"always", 1, n, n},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := fault.New(1, fault.Everything(tt.rate))
			count := 0
			for _, struck := range strikes(i, fault.Redelivered, n) {
				if struck {
					count++
				}
			}
			if count < tt.min || count > tt.max {
				t.Errorf("%d strikes, want %d to %d", count, tt.min, tt.max)
			}
			if got := i.Plans(fault.Redelivered); got != (tt.rate > 0) {
				t.Errorf("Plans says %v", got)
			}
			if got := i.Struck()[fault.Redelivered]; got != count {
				t.Errorf("Struck says %d, want %d", got, count)
			}
		})
	}
}

func TestNilAndUnplannedNeverStrike(t *testing.T) {
	t.Parallel()
	var none *fault.Injector
	if none.Strike(fault.Aborted) || none.Struck() != nil {
		t.Error("a nil injector struck")
	}
	i := fault.New(1, fault.Plan{fault.Aborted: 1})
	if i.Strike(fault.Expired) || len(i.Struck()) != 0 {
		t.Error("a fault that is not in the plan struck")
	}
}

func TestPlanIsCopied(t *testing.T) {
	t.Parallel()
	plan := fault.Plan{fault.Aborted: 1}
	i := fault.New(1, plan)
	plan[fault.Aborted] = 0
	if !i.Strike(fault.Aborted) {
		t.Error("the injector follows later changes of the caller's plan")
	}
	i.Struck()[fault.Aborted] = 99
	if got := i.Struck()[fault.Aborted]; got != 1 {
		t.Errorf("Struck = %d, want 1: it hands out its own map", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	i := fault.New(1, fault.Plan{fault.Aborted: 1})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { strikes(i, fault.Aborted, 100) })
	}
	wg.Wait()
	if got := i.Struck()[fault.Aborted]; got != 800 {
		t.Errorf("%d strikes, want 800", got)
	}
}
