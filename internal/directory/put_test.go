package directory_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
)

func put(t *testing.T, d *directory.Directory, in *tenant.Tenant, dryRun bool, want directory.Change) {
	t.Helper()
	got, err := d.Put(t.Context(), in, dryRun)
	if err != nil || got != want {
		t.Errorf("Put: %q, %v; want %q", got, err, want)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	d := open(t, s)
	put(t, d, full(), true, directory.Created)
	if _, err := d.Get(t.Context(), "t1"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("a dry run created it: %v", err)
	}
	put(t, d, full(), false, directory.Created)
	put(t, d, full(), false, directory.Unchanged)
	again := full()
	again.Status = ""
	put(t, d, again, false, directory.Unchanged) // and the tenant stays disabled
	again.Name = "Example GmbH"
	commits := s.Stats().Commits
	put(t, d, again, true, directory.Updated)
	if n := s.Stats().Commits; n != commits {
		t.Errorf("a dry run made %d commits", n-commits)
	}
	put(t, d, again, false, directory.Updated)
	got, err := d.Fresh(t.Context(), "t1")
	if err != nil || got.Name != "Example GmbH" || got.Status != tenant.Disabled || got.Version != 2 {
		t.Errorf("record %+v, %v", got, err)
	}
}

// TestPutComparesSettingsByMeaning: what a YAML file calls 5 is read back from the store as an int64.
func TestPutComparesSettingsByMeaning(t *testing.T) {
	t.Parallel()
	d, err := directory.New(directory.Options{
		Store: memstore.New(memstore.Options{}), Staleness: staleness, CacheSize: 1, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	with := func(n any) *tenant.Tenant {
		return &tenant.Tenant{ID: "t1", Processors: []tenant.Binding{{Name: "x", Settings: map[string]any{"n": n}}}}
	}
	put(t, d, with(5), false, directory.Created)
	put(t, d, with(5.0), false, directory.Unchanged)
	put(t, d, with(int64(5)), false, directory.Unchanged)
	put(t, d, with(6), false, directory.Updated)
}

func TestPutErrors(t *testing.T) {
	t.Parallel()
	b := &broken{Store: memstore.New(memstore.Options{})}
	d := open(t, b)
	create(t, d, &tenant.Tenant{ID: "t1", Domains: []string{"a.example"}})
	bad := &tenant.Tenant{ID: "a b", Status: "asleep", Domains: []string{"not a host"}}
	for what, err := range map[string]error{"Check": d.Check(bad), "Put": func() error { _, err := d.Put(t.Context(), bad, false); return err }()} {
		for _, want := range []string{"tenant id", "status", "domains[0]"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v does not name %q", what, err, want)
			}
		}
	}
	if err := d.Check(full()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if _, err := d.Put(t.Context(), &tenant.Tenant{ID: "t2", Domains: []string{"a.example"}}, false); !errors.Is(err, directory.ErrTaken) {
		t.Errorf("taken: %v", err)
	}
	b.get = func() error { return code.New(code.Unavailable, "get", nil) }
	if _, err := d.Put(t.Context(), &tenant.Tenant{ID: "t1"}, false); code.Of(err) != code.Unavailable {
		t.Errorf("store away: %v", err)
	}
}
