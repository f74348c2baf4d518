package directory_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
)

func TestConflicts(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	d := open(t, s)
	create(t, d, &tenant.Tenant{ID: "t1", Domains: []string{"a.example"}, Pixels: []string{"px1"}})
	commits := s.Stats().Commits
	errs, err := d.Conflicts(t.Context(), []*tenant.Tenant{
		{ID: "t1", Domains: []string{"www.a.example"}, Pixels: []string{"px1"}},
		{ID: "t2", Domains: []string{"A.example", "b.example"}, Pixels: []string{"px1"}},
		{ID: "t3", Domains: []string{"www.b.example"}},
		{ID: "t4", Domains: []string{"not a host"}},
		{ID: "t5", Domains: []string{"c.example", "c.example"}, Pixels: []string{"a.example"}},
		{ID: "t6"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const taken = "route belongs to another tenant: "
	want := []string{
		"", taken + "domain a.example of t1\n" + taken + "pixel px1 of t1", taken + "domain b.example of t2", "", "", "",
	}
	got := make([]string, len(errs))
	for i, err := range errs {
		if err != nil {
			got[i] = err.Error()
		}
		if err != nil && !errors.Is(err, directory.ErrTaken) {
			t.Errorf("error %v, want ErrTaken", err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if n := s.Stats().Commits; n != commits {
		t.Errorf("%d commits", n-commits)
	}
}

// TestConflictsOfMany has more routes than one call reads, each of them taken.
func TestConflictsOfMany(t *testing.T) {
	t.Parallel()
	const routes = 700
	d := open(t, memstore.New(memstore.Options{}))
	var list []*tenant.Tenant
	for i := range routes {
		pixel := []string{fmt.Sprint("px", i)}
		create(t, d, &tenant.Tenant{ID: visitor.TenantID(fmt.Sprint("t1-", i)), Pixels: pixel})
		list = append(list, &tenant.Tenant{ID: visitor.TenantID(fmt.Sprint("t2-", i)), Pixels: pixel})
	}
	errs, err := d.Conflicts(t.Context(), list)
	if err != nil || len(errs) != routes {
		t.Fatal(len(errs), err)
	}
	for i, err := range errs {
		if want := fmt.Sprintf("route belongs to another tenant: pixel px%d of t1-%[1]d", i); err == nil || err.Error() != want {
			t.Errorf("record %d: %v, want %s", i, err, want)
		}
	}
}

func TestConflictsOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	broke := errors.New("broken")
	d := open(t, &broken{Store: memstore.New(memstore.Options{}), get: func() error { return broke }})
	if _, err := d.Conflicts(t.Context(), []*tenant.Tenant{{ID: "t1", Pixels: []string{"px1"}}}); !errors.Is(err, broke) {
		t.Errorf("error %v, want that of the store", err)
	}
}
