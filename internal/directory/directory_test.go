package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 3, 10, 0, 0, 123456789, time.UTC)

const staleness = 10 * time.Second

func registry(t *testing.T) *processor.Registry {
	t.Helper()
	r := processor.NewRegistry()
	if err := r.Register(profile.Processor{}); err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t *testing.T, s store.Store) *directory.Directory {
	t.Helper()
	d, err := directory.New(directory.Options{
		Store: s, Registry: registry(t), Staleness: staleness, CacheSize: 100, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// broken is a store whose calls may fail, block and be counted.
type broken struct {
	store.Store
	gets   atomic.Int64
	get    func() error
	query  func() error
	commit func() error // before the commit
}

func (b *broken) Get(ctx context.Context, p []store.Path) ([]store.Doc, error) {
	b.gets.Add(1)
	if b.get != nil {
		if err := b.get(); err != nil {
			return nil, err
		}
	}
	return b.Store.Get(ctx, p)
}

func (b *broken) Query(ctx context.Context, q store.Query) ([]store.Doc, error) {
	if b.query != nil {
		return nil, b.query()
	}
	return b.Store.Query(ctx, q)
}

func (b *broken) Commit(ctx context.Context, w []store.Write) error {
	if b.commit != nil {
		if err := b.commit(); err != nil {
			return err
		}
	}
	return b.Store.Commit(ctx, w)
}

func create(t *testing.T, d *directory.Directory, ten *tenant.Tenant) *tenant.Tenant {
	t.Helper()
	out, err := d.Create(t.Context(), ten)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func full() *tenant.Tenant {
	return &tenant.Tenant{
		ID: "t1", Name: "Example Ltd", Status: tenant.Disabled,
		Domains: []string{"Shop.Example.com", "example.com", "example.com"}, Pixels: []string{"px2", "px1", "px2"},
		Processors: []tenant.Binding{{Name: "profile", Settings: map[string]any{"visitors": false}}},
		UsagePages: []string{"home"}, UsageCampaigns: []string{"spring"},
	}
}

func TestCreateStoresEverything(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	given := full()
	created := create(t, open(t, s), given)
	if d := cmp.Diff(full(), given); d != "" {
		t.Errorf("the caller's record was changed (-want +got):\n%s", d)
	}
	want := full()
	want.Domains, want.Pixels = []string{"example.com", "shop.example.com"}, []string{"px1", "px2"}
	want.Version, want.CreatedAt, want.UpdatedAt = 1, now.Truncate(time.Microsecond), now.Truncate(time.Microsecond)
	if d := cmp.Diff(want, created); d != "" {
		t.Errorf("created (-want +got):\n%s", d)
	}
	other := open(t, s)
	got, err := other.Get(t.Context(), "t1")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("stored (-want +got):\n%s", d)
	}
	for _, r := range []source.Route{{Kind: source.RouteDomain, Value: "example.com"}, {Kind: source.RoutePixel, Value: "px2"}} {
		if id, ok, err := other.ByRoute(t.Context(), r); id != "t1" || !ok || err != nil {
			t.Errorf("%v: %q, %v, %v", r, id, ok, err)
		}
	}
}

func TestCreateDefaultsToActive(t *testing.T) {
	t.Parallel()
	if got := create(t, open(t, memstore.New(memstore.Options{})), &tenant.Tenant{ID: "t1"}); got.Status != tenant.Active {
		t.Errorf("status %q", got.Status)
	}
}

func TestRefusedRecords(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	d := open(t, s)
	create(t, d, &tenant.Tenant{ID: "t1", Domains: []string{"example.com"}, Pixels: []string{"px1"}})
	tests := []struct {
		name   string
		in     tenant.Tenant
		is     error
		errHas string
	}{
		{"exists", tenant.Tenant{ID: "t1"}, directory.ErrExists, ""},
		{"domain taken", tenant.Tenant{ID: "t2", Domains: []string{"EXAMPLE.com"}}, directory.ErrTaken, "domain example.com"},
		{"pixel taken", tenant.Tenant{ID: "t2", Pixels: []string{"px0", "px1"}}, directory.ErrTaken, "pixel px1"},
		{"bad id", tenant.Tenant{ID: "a b"}, nil, "tenant id"},
		{"id no path", tenant.Tenant{ID: "a/b"}, nil, "forbidden segment"},
		{"bad domain", tenant.Tenant{ID: "t2", Domains: []string{"ok.example", "not a host"}}, nil, "domains[1]"},
		{"bad pixel", tenant.Tenant{ID: "t2", Pixels: []string{"a/b"}}, nil, "pixel: forbidden value"},
		{"bad status", tenant.Tenant{ID: "t2", Status: "asleep"}, nil, "status"},
		{"unknown processor", tenant.Tenant{ID: "t2", Processors: []tenant.Binding{{Name: "nope"}}}, processor.ErrUnknown, "processors[0]"},
		{
			"settings that cannot be stored",
			tenant.Tenant{ID: "t2", Processors: []tenant.Binding{{Name: "profile", Settings: map[string]any{"visitors": nil, "": 1}}}}, nil, "unknown setting",
		},
	}
	before := s.Stats().Commits
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := d.Create(t.Context(), &tt.in)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.errHas) {
				t.Errorf("error %v, want %v %q", err, tt.is, tt.errHas)
			}
		})
	}
	if n := s.Stats().Commits - before; n != 0 {
		t.Errorf("%d commits were applied", n)
	}
}

func TestSettingsThatCannotBeStored(t *testing.T) {
	t.Parallel()
	d, err := directory.New(directory.Options{ // without registry: it would refuse the setting first
		Store: memstore.New(memstore.Options{}), Staleness: staleness, CacheSize: 1, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	grid := map[string]any{"grid": []any{[]any{1}}}
	_, err = d.Create(t.Context(), &tenant.Tenant{ID: "t1", Processors: []tenant.Binding{{Name: "x"}, {Name: "y", Settings: grid}}})
	if err == nil || !strings.Contains(err.Error(), "processors[1].settings") {
		t.Errorf("error %v", err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	d := open(t, s)
	create(t, d, &tenant.Tenant{ID: "t1", Domains: []string{"a.example", "b.example"}})
	got, err := d.Update(t.Context(), "t1", func(ten *tenant.Tenant) error {
		ten.ID, ten.Version, ten.CreatedAt = "other", 77, time.Time{} // not the caller's to change
		ten.Name = "New"
		// In place, which must not confuse what is lost.
		ten.Domains = append(slices.DeleteFunc(ten.Domains, func(s string) bool { return s == "a.example" }), "c.example")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &tenant.Tenant{
		ID: "t1", Name: "New", Status: tenant.Active, Domains: []string{"b.example", "c.example"}, Version: 2,
		CreatedAt: now.Truncate(time.Microsecond), UpdatedAt: now.Truncate(time.Microsecond),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
	fresh := open(t, s)
	for value, owned := range map[string]bool{"a.example": false, "b.example": true, "c.example": true} {
		for i, dir := range []*directory.Directory{d, fresh} {
			if id, ok, err := dir.ByRoute(t.Context(), source.Route{Kind: source.RouteDomain, Value: value}); ok != owned || err != nil {
				t.Errorf("directory %d: %s -> %q, %v, %v", i, value, id, ok, err)
			}
		}
	}
}

func TestUpdateErrorsLeaveTheRecord(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	d := open(t, s)
	create(t, d, &tenant.Tenant{ID: "t1", Domains: []string{"a.example"}})
	create(t, d, &tenant.Tenant{ID: "t2", Domains: []string{"b.example"}})
	mine := errors.New("mine")
	tests := []struct {
		name   string
		id     visitor.TenantID
		change func(*tenant.Tenant) error
		is     error
	}{
		{"unknown", "t9", func(*tenant.Tenant) error { return nil }, directory.ErrNotFound},
		{"the change's own", "t1", func(*tenant.Tenant) error { return mine }, mine},
		{"taken", "t1", func(x *tenant.Tenant) error { x.Domains = []string{"b.example"}; return nil }, directory.ErrTaken},
		{
			"changed meanwhile", "t1", func(*tenant.Tenant) error {
				_, err := d.Update(t.Context(), "t1", func(x *tenant.Tenant) error { x.Name = "first"; return nil })
				return err
			}, directory.ErrChanged,
		},
		{"unknown processor", "t1", func(x *tenant.Tenant) error { x.Processors = []tenant.Binding{{Name: "nope"}}; return nil }, processor.ErrUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := d.Update(t.Context(), tt.id, tt.change); !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %v", err, tt.is)
			}
		})
	}
	got, err := d.Fresh(t.Context(), "t1")
	if err != nil || got.Version != 2 || got.Name != "first" || !slices.Equal(got.Domains, []string{"a.example"}) {
		t.Errorf("record %+v, %v", got, err)
	}
}

func TestRouteMoves(t *testing.T) {
	t.Parallel()
	d := open(t, memstore.New(memstore.Options{}))
	create(t, d, &tenant.Tenant{ID: "t1", Domains: []string{"a.example"}})
	create(t, d, &tenant.Tenant{ID: "t2"})
	r := source.Route{Kind: source.RouteDomain, Value: "a.example"}
	if id, _, err := d.ByRoute(t.Context(), r); id != "t1" || err != nil { // now cached
		t.Fatalf("%q, %v", id, err)
	}
	set := func(id visitor.TenantID, domains ...string) {
		t.Helper()
		if _, err := d.Update(t.Context(), id, func(x *tenant.Tenant) error { x.Domains = domains; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set("t1")
	if id, ok, err := d.ByRoute(t.Context(), r); ok || err != nil {
		t.Errorf("given up: %q, %v", id, err)
	}
	set("t2", "a.example")
	if id, ok, err := d.ByRoute(t.Context(), r); id != "t2" || !ok || err != nil {
		t.Errorf("moved: %q, %v, %v", id, ok, err)
	}
}

func TestRoutesHaveOneOwnerUnderContention(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{Faults: fault.New(1, fault.Plan{fault.Aborted: 0.3})})
	var wg sync.WaitGroup
	var owners atomic.Int32
	for i := range 20 {
		d := open(t, s)
		wg.Go(func() {
			_, err := d.Create(t.Context(), &tenant.Tenant{ID: visitor.TenantID(fmt.Sprint("t", i)), Domains: []string{"a.example"}})
			switch {
			case err == nil:
				owners.Add(1)
			case !errors.Is(err, directory.ErrTaken) && code.Of(err) != code.Conflict:
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if owners.Load() != 1 {
		t.Errorf("%d owners", owners.Load())
	}
}

// TestContentionIsNoConflict: a commit may be refused although all preconditions hold.
func TestContentionIsNoConflict(t *testing.T) {
	t.Parallel()
	aborted := code.New(code.Conflict, "commit", nil)
	b := &broken{Store: memstore.New(memstore.Options{})}
	d := open(t, b)
	left := 2
	b.commit = func() error {
		if left--; left >= 0 {
			return aborted
		}
		return nil
	}
	create(t, d, &tenant.Tenant{ID: "t1"})
	b.commit = func() error { return aborted }
	if _, err := d.Create(t.Context(), &tenant.Tenant{ID: "t2"}); !errors.Is(err, aborted) {
		t.Errorf("error %v, want that of the store", err)
	}
	if _, err := d.Get(t.Context(), "t2"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("t2: %v", err)
	}
}

func TestCreateRace(t *testing.T) {
	t.Parallel()
	b := &broken{Store: memstore.New(memstore.Options{})}
	d := open(t, b)
	b.commit = func() error { // somebody is faster
		b.commit = nil
		_, err := open(t, b.Store).Create(t.Context(), &tenant.Tenant{ID: "t1", Name: "first"})
		return err
	}
	if _, err := d.Create(t.Context(), &tenant.Tenant{ID: "t1"}); !errors.Is(err, directory.ErrExists) {
		t.Errorf("error %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	d := open(t, memstore.New(memstore.Options{}))
	for _, id := range []visitor.TenantID{"c", "a", "b"} {
		create(t, d, &tenant.Tenant{ID: id})
	}
	list := func(after visitor.TenantID, limit int) (ids []visitor.TenantID) {
		t.Helper()
		l, err := d.List(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range l {
			ids = append(ids, x.ID)
		}
		return ids
	}
	if got := list("", 2); !slices.Equal(got, []visitor.TenantID{"a", "b"}) {
		t.Errorf("first page %v", got)
	}
	if got := list("b", 2); !slices.Equal(got, []visitor.TenantID{"c"}) {
		t.Errorf("second page %v", got)
	}
	if got := list("c", 2); len(got) != 0 {
		t.Errorf("third page %v", got)
	}
	if _, err := d.List(t.Context(), "a/b", 2); code.Of(err) != code.Invalid {
		t.Errorf("bad cursor: %v", err)
	}
	if _, err := d.List(t.Context(), "", 0); code.Of(err) != code.Invalid {
		t.Errorf("no limit: %v", err)
	}
}

func TestStoreErrorsKeepTheirCode(t *testing.T) {
	t.Parallel()
	down := func() error { return code.New(code.Unavailable, "store", nil) }
	b := &broken{Store: memstore.New(memstore.Options{})}
	d := open(t, b)
	create(t, d, &tenant.Tenant{ID: "t1"})
	other := open(t, b)
	b.get, b.query = down, down
	calls := map[string]func() error{
		"get":   func() error { _, err := other.Get(t.Context(), "t1"); return err },
		"fresh": func() error { _, err := d.Fresh(t.Context(), "t1"); return err },
		"route": func() error {
			_, _, err := d.ByRoute(t.Context(), source.Route{Kind: "domain", Value: "a.example"})
			return err
		},
		"list":   func() error { _, err := d.List(t.Context(), "", 10); return err },
		"create": func() error { _, err := d.Create(t.Context(), &tenant.Tenant{ID: "t2"}); return err },
		"update": func() error { _, err := d.Update(t.Context(), "t1", nil); return err },
	}
	for name, call := range calls {
		if err := call(); code.Of(err) != code.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Get(t.Context(), "t1"); err != nil {
		t.Errorf("a cached record outlives an outage: %v", err)
	}
	b.get = nil
	b.commit = down
	if _, err := d.Create(t.Context(), &tenant.Tenant{ID: "t2"}); code.Of(err) != code.Unavailable {
		t.Errorf("commit: %v", err)
	}
	b.commit = func() error { b.get = down; return code.New(code.Conflict, "commit", nil) }
	if _, err := d.Create(t.Context(), &tenant.Tenant{ID: "t2"}); code.Of(err) != code.Unavailable {
		t.Errorf("finding the cause of a conflict: %v", err)
	}
	b.get = nil
	if _, err := other.Get(t.Context(), "t1"); err != nil {
		t.Errorf("an error was cached: %v", err)
	}
}

func TestOddRoutesAndIDs(t *testing.T) {
	t.Parallel()
	d := open(t, memstore.New(memstore.Options{}))
	if id, ok, err := d.ByRoute(t.Context(), source.Route{Kind: source.RoutePixel, Value: "a/b"}); id != "" || ok || err != nil {
		t.Errorf("%q, %v, %v", id, ok, err)
	}
	if _, err := d.Get(t.Context(), "a/b"); code.Of(err) != code.Invalid {
		t.Errorf("error %v", err)
	}
}

func TestBoundedStaleness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{})
		reader, writer := open(t, s), open(t, s)
		create(t, writer, &tenant.Tenant{ID: "t1", Name: "old", Domains: []string{"a.example"}})
		r := source.Route{Kind: source.RouteDomain, Value: "a.example"}
		name := func() string {
			ten, err := reader.Get(t.Context(), "t1")
			if err != nil {
				t.Fatal(err)
			}
			return ten.Name
		}
		owned := func() bool {
			_, ok, err := reader.ByRoute(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		for range 3 {
			if name() != "old" || !owned() {
				t.Fatal("not the first state")
			}
			if _, err := writer.Update(t.Context(), "t1", func(x *tenant.Tenant) error { x.Name, x.Domains = "new", nil; return nil }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(staleness / 2)
			if name() != "old" || !owned() {
				t.Error("not cached")
			}
			time.Sleep(staleness/2 + time.Millisecond) // reading did not renew it
			if name() != "new" || owned() {
				t.Error("a change is not seen within the bound")
			}
			back, err := writer.Update(t.Context(), "t1", func(x *tenant.Tenant) error { x.Name, x.Domains = "old", []string{"a.example"}; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if got, err := reader.Fresh(t.Context(), "t1"); err != nil || got.Version != back.Version || name() != "old" {
				t.Errorf("Fresh: %v, %v", got, err)
			}
			time.Sleep(staleness + time.Millisecond)
		}
	})
}

func TestOwnChangesAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	d := open(t, memstore.New(memstore.Options{}))
	create(t, d, &tenant.Tenant{ID: "t1"})
	for _, name := range []string{"a", "b"} {
		if _, err := d.Update(t.Context(), "t1", func(x *tenant.Tenant) error { x.Name = name; return nil }); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Get(t.Context(), "t1"); err != nil || got.Name != name {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Store: memstore.New(memstore.Options{})}
		create(t, open(t, b), &tenant.Tenant{ID: "t1", Domains: []string{"a.example"}})
		d := open(t, b)
		b.gets.Store(0)
		b.get = func() error { time.Sleep(time.Second); return nil }
		var wg sync.WaitGroup
		first, cancel := context.WithCancel(t.Context())
		wg.Go(func() { _, _ = d.Get(first, "t1") })
		synctest.Wait()
		for range 100 {
			wg.Go(func() {
				if ten, err := d.Get(t.Context(), "t1"); err != nil || ten.ID != "t1" {
					t.Errorf("%v, %v", ten, err)
				}
			})
			wg.Go(func() {
				if _, ok, err := d.ByRoute(t.Context(), source.Route{Kind: source.RouteDomain, Value: "a.example"}); err != nil || !ok {
					t.Errorf("%v, %v", ok, err)
				}
			})
		}
		cancel() // the one who reads goes away; the others still get their answer
		wg.Wait()
		if n := b.gets.Load(); n != 2 {
			t.Errorf("%d reads for one tenant and one route, want 2", n)
		}
	})
}

func TestReadsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hanging{memstore.New(memstore.Options{})})
		start := time.Now()
		if _, err := d.Get(t.Context(), "t1"); err == nil || code.Of(err) != code.Canceled {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// hanging never answers a read.
type hanging struct{ store.Store }

func (hanging) Get(ctx context.Context, _ []store.Path) ([]store.Doc, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestUnknownIsNotCached(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	reader, writer := open(t, s), open(t, s)
	r := source.Route{Kind: source.RouteDomain, Value: "a.example"}
	if _, err := reader.Get(t.Context(), "t1"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if _, err := reader.Fresh(t.Context(), "t1"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if _, ok, err := reader.ByRoute(t.Context(), r); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	create(t, writer, &tenant.Tenant{ID: "t1", Domains: []string{"a.example"}})
	if _, err := reader.Get(t.Context(), "t1"); err != nil {
		t.Errorf("Get: %v", err)
	}
	if id, ok, err := reader.ByRoute(t.Context(), r); id != "t1" || !ok || err != nil {
		t.Errorf("ByRoute: %q, %v, %v", id, ok, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	_, err := directory.New(directory.Options{})
	for _, want := range []string{"store", "staleness", "cache size", "now"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	d, err := directory.New(directory.Options{
		Store: memstore.New(memstore.Options{}), Staleness: time.Hour, CacheSize: 100, Now: time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Create(b.Context(), &tenant.Tenant{ID: "t1"}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Get(b.Context(), "t1"); err != nil {
			b.Fatal(err)
		}
	}
}
