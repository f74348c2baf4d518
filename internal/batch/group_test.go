package batch_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/batch"
)

// grouped is options whose items are named group:key, and where a group's flush takes a second, others' 10 ms.
func grouped(flushed func(items []string)) batch.Options[string] {
	o := options(func(items []string) []error {
		flushed(items)
		if strings.HasPrefix(items[0], ":") {
			time.Sleep(10 * time.Millisecond) // virtual time
		} else {
			time.Sleep(time.Second)
		}
		return nil
	})
	o.Group = func(s string) string { g, _, _ := strings.Cut(s, ":"); return g }
	o.GroupConcurrency = 1
	return o
}

// TestGroupsTravelApart: no batch mixes a group with others; groups take turns, and all others do not wait for them.
func TestGroupsTravelApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		b := mustNew(t, grouped(func(items []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range items {
				if s[0] != items[0][0] {
					t.Errorf("a batch of %v", items)
				}
			}
			if items[0][0] != ':' {
				order = append(order, items[0][:1]+fmt.Sprint(len(items)))
			}
		}))
		var wg sync.WaitGroup
		start := time.Now()
		add := func(s string, within time.Duration) {
			wg.Go(func() {
				if err := b.Add(t.Context(), s); err != nil || time.Since(start) > within {
					t.Errorf("%s took %v, error %v", s, time.Since(start), err)
				}
			})
			synctest.Wait()
		}
		for i := range 7 {
			add(fmt.Sprint("a:", i), time.Minute)
		}
		add("b:0", 2*time.Second) // behind one batch of a, not behind all of them
		for i := range 20 {
			add(fmt.Sprint(":", i), 40*time.Millisecond)
		}
		wg.Wait()
		if d := cmp.Diff([]string{"a1", "b1", "a4", "a2"}, order); d != "" {
			t.Errorf("batches of groups (-want +got):\n%s", d)
		}
		if got := time.Since(start); got != 4*time.Second {
			t.Errorf("took %v, want 4 s: one batch of a group at a time", got)
		}
	})
}

// TestGroupChanges: what joins a group while it waits travels with it; what leaves it travels with all others.
func TestGroupChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hot atomic.Bool
		var mu sync.Mutex
		var batches [][]string
		o := options(func(items []string) []error {
			mu.Lock()
			batches = append(batches, items)
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			if len(items) > 1 && !hot.Swap(true) {
				return []error{batch.ErrAgain, nil}
			}
			return nil
		})
		o.Concurrency, o.GroupConcurrency = 1, 1
		o.Key = func(s string) string { return s[:1] }
		o.Group = func(s string) string {
			if s[0] == 'h' && hot.Load() {
				return "hot"
			}
			return ""
		}
		b := mustNew(t, o)
		var wg sync.WaitGroup
		add := func(items ...string) {
			for _, s := range items {
				wg.Go(func() {
					if err := b.Add(t.Context(), s); err != nil {
						t.Errorf("Add: %v", err)
					}
				})
				synctest.Wait()
			}
		}
		add("x0", "h1", "x2") // x0 goes at once, the others together
		time.Sleep(15 * time.Millisecond)
		add("h3", "y4") // h3 waits for its key, then goes behind h1
		wg.Wait()
		hot.Store(false)
		add("z5", "h6", "z7")
		wg.Wait()
		want := [][]string{{"x0"}, {"h1", "x2"}, {"h1", "h3"}, {"y4"}, {"z5"}, {"h6", "z7"}}
		got := batches
		if len(got) > 3 && got[2][0] == "y4" { // the two start at the same moment
			got[2], got[3] = got[3], got[2]
		}
		if d := cmp.Diff(want[:4], got[:4]); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
		if len(got) < 6 || got[4][0] != "z5" || len(got[5]) != 2 {
			t.Errorf("after the group: %v", got[4:])
		}
	})
}

// TestKeysAcrossGroups: a key is in one batch at a time, in whatever group its items are; nothing is left behind.
func TestKeysAcrossGroups(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	under := map[string]bool{}
	var done, again atomic.Int64
	o := options(func(items []string) []error {
		mine := map[string]bool{}
		mu.Lock()
		for _, s := range items {
			if under[s[:1]] && !mine[s[:1]] {
				t.Errorf("key %s is in two batches", s[:1])
			}
			under[s[:1]], mine[s[:1]] = true, true
		}
		mu.Unlock()
		errs := make([]error, len(items))
		mu.Lock()
		defer mu.Unlock()
		for i, s := range items {
			delete(under, s[:1])
			if again.Add(1)%7 == 0 {
				errs[i] = batch.ErrAgain
			} else {
				done.Add(1)
			}
		}
		return errs
	})
	var n atomic.Int64
	o.Concurrency, o.GroupConcurrency, o.Linger = 3, 3, 0
	o.Key = func(s string) string { return s[:1] }
	o.Group = func(string) string { return []string{"", "g", "h", "i", "j"}[n.Add(1)%5] }
	b := mustNew(t, o)
	var wg sync.WaitGroup
	for i := range 3000 {
		wg.Go(func() {
			if err := b.Add(t.Context(), fmt.Sprintf("%c%d", 'a'+i%11, i)); err != nil {
				t.Errorf("Add: %v", err)
			}
		})
	}
	wg.Wait()
	if done.Load() != 3000 {
		t.Errorf("%d done", done.Load())
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCloseWaitsForGroups: also for what was put back.
func TestCloseWaitsForGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		o := options(func([]string) []error {
			time.Sleep(time.Second)
			if tries++; tries < 3 {
				return []error{batch.ErrAgain}
			}
			return nil
		})
		o.Group, o.GroupConcurrency = func(string) string { return "g" }, 1
		b := mustNew(t, o)
		done := make(chan error, 1)
		go func() { done <- b.Add(t.Context(), "a") }()
		synctest.Wait()
		if err := b.Close(t.Context()); err != nil || tries != 3 {
			t.Errorf("Close: %v after %d tries", err, tries)
		}
		if err := <-done; err != nil {
			t.Errorf("Add: %v", err)
		}
		if err := b.Add(t.Context(), "b"); !errors.Is(err, batch.ErrClosed) {
			t.Errorf("Add after Close: %v", err)
		}
	})
}
