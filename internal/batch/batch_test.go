package batch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/usherhq/usher/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(flush func([]string) []error) batch.Options[string] {
	return batch.Options[string]{
		MaxItems: 4, MaxBytes: 1000, Linger: 10 * time.Millisecond, Concurrency: 2,
		Size: func(s string) int { return len(s) }, Flush: flush,
	}
}

func mustNew(t *testing.T, o batch.Options[string]) *batch.Batcher[string] {
	t.Helper()
	b, err := batch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIdleFlushesAtOnceAndBusyFills(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sizes []int
		b := mustNew(t, options(func(items []string) []error {
			mu.Lock()
			sizes = append(sizes, len(items))
			mu.Unlock()
			time.Sleep(100 * time.Millisecond) // virtual time
			return nil
		}))
		start := time.Now()
		var wg sync.WaitGroup
		add := func(s string) {
			wg.Go(func() {
				if err := b.Add(t.Context(), s); err != nil {
					t.Errorf("Add: %v", err)
				}
			})
		}
		add("first")
		synctest.Wait()
		if len(sizes) != 1 {
			t.Fatalf("idle batcher did not flush at once: %v", sizes)
		}
		add("second") // lingers, since a batch is under way
		synctest.Wait()
		if len(sizes) != 1 {
			t.Fatalf("second item did not linger: %v", sizes)
		}
		for i := range 3 {
			add(fmt.Sprint(i)) // fills the batch of four
		}
		synctest.Wait()
		if len(sizes) != 2 || sizes[1] != 4 {
			t.Fatalf("full batch: sizes %v, want [1 4]", sizes)
		}
		wg.Wait()
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("took %v, want 100ms: nothing had to wait", got)
		}
	})
}

func TestLingerEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var flushes atomic.Int32
		b := mustNew(t, options(func([]string) []error {
			flushes.Add(1)
			time.Sleep(time.Second)
			return nil
		}))
		var wg sync.WaitGroup
		for _, s := range []string{"a", "b"} {
			wg.Go(func() { _ = b.Add(t.Context(), s) })
			synctest.Wait()
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if flushes.Load() != 2 {
			t.Errorf("flushes after linger = %d, want 2", flushes.Load())
		}
		wg.Wait()
	})
}

func TestEachCallerGetsItsOwnError(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad item")
	b := mustNew(t, options(func(items []string) []error {
		errs := make([]error, len(items))
		for i, s := range items {
			if strings.HasPrefix(s, "bad") {
				errs[i] = bad
			}
		}
		return errs
	}))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if i%7 == 0 {
				if err := b.Add(t.Context(), fmt.Sprint("bad", i)); !errors.Is(err, bad) {
					t.Errorf("bad item: %v", err)
				}
			} else if err := b.Add(t.Context(), fmt.Sprint("good", i)); err != nil {
				t.Errorf("good item: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestLimits(t *testing.T) {
	t.Parallel()
	o := options(func(items []string) []error {
		n := 0
		for _, s := range items {
			n += len(s)
		}
		if len(items) > 4 || (n > 1000 && len(items) > 1) {
			t.Errorf("batch of %d items and %d bytes", len(items), n)
		}
		return nil
	})
	b := mustNew(t, o)
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() { _ = b.Add(t.Context(), strings.Repeat("x", i*5)) })
	}
	wg.Wait()
}

func TestKeyIsNeverInTwoBatches(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	under := map[string]bool{}
	done := map[string]int{}
	o := options(nil)
	o.Concurrency, o.Linger = 4, 0
	o.Key = func(s string) string { return s[:1] }
	o.Flush = func(items []string) []error {
		mine := map[string]bool{}
		mu.Lock()
		for _, s := range items {
			k := s[:1]
			if under[k] && !mine[k] {
				t.Errorf("key %s is in two batches", k)
			}
			under[k], mine[k] = true, true
		}
		mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		for _, s := range items {
			delete(under, s[:1])
			done[s[:1]]++
		}
		return nil
	}
	b := mustNew(t, o)
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() { _ = b.Add(t.Context(), fmt.Sprintf("%c%d", 'a'+i%3, i)) })
	}
	wg.Wait()
	if n := done["a"] + done["b"] + done["c"]; n != 2000 {
		t.Errorf("done = %d, want 2000", n)
	}
}

func TestCloseFlushesAndRefuses(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	started := make(chan struct{}, 10)
	o := options(func([]string) []error { started <- struct{}{}; <-release; return nil })
	o.Concurrency = 1
	b := mustNew(t, o)
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Add(t.Context(), "a") })
	<-started
	errs := make(chan error, 1)
	go func() { errs <- b.Add(t.Context(), "b") }()

	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("no time left"))
	defer cancel()
	if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "no time left") {
		t.Errorf("Close with a batch under way: %v", err)
	}
	if err := b.Add(t.Context(), "c"); !errors.Is(err, batch.ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	close(release)
	if err := b.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-errs; err != nil && !errors.Is(err, batch.ErrClosed) {
		t.Errorf("item before Close: %v", err)
	}
	wg.Wait()
}

func TestAddGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := mustNew(t, options(func([]string) []error { <-release; return nil }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Add(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Add: %v", err)
	}
	close(release)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	_, err := batch.New(batch.Options[string]{Linger: -1, Group: func(string) string { return "" }})
	for _, want := range []string{"max items", "max bytes", "linger", "concurrency", "group concurrency", "size and flush"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	o := options(func([]string) []error { return nil })
	o.MaxItems, o.MaxBytes = 100, 1<<20
	o.Key = func(s string) string { return s }
	bt, err := batch.New(o)
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	b.SetParallelism(500)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := bt.Add(b.Context(), fmt.Sprint(n.Add(1))); err != nil {
				b.Error(err)
			}
		}
	})
}
