// Package directory finds tenants by id or by route, cached with bounded staleness, and changes their records.
package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fields"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// Errors of changes to records.
var (
	ErrNotFound = errors.New("no such tenant")
	ErrExists   = errors.New("tenant exists")
	ErrTaken    = errors.New("route belongs to another tenant")
	ErrChanged  = errors.New("tenant was changed by somebody else meanwhile: read it again")
)

// Options configure a [Directory].
type Options struct {
	Store store.Store
	// Registry checks the chains of records that are written; nil where records are only read.
	Registry  *processor.Registry
	Staleness time.Duration // how long a cached answer may be used
	CacheSize int
	Now       func() time.Time
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Store == nil {
		errs = append(errs, errors.New("store is required"))
	}
	if o.Staleness <= 0 {
		errs = append(errs, errors.New("staleness: want more than 0"))
	}
	if o.CacheSize < 1 {
		errs = append(errs, errors.New("cache size: want at least 1"))
	}
	if o.Now == nil {
		errs = append(errs, errors.New("now is required"))
	}
	return errors.Join(errs...)
}

// Directory is the tenants of one database. It is safe for concurrent use.
type Directory struct {
	opts    Options
	tenants *otter.Cache[visitor.TenantID, *tenant.Tenant]
	routes  *otter.Cache[source.Route, visitor.TenantID]
}

// New returns a directory.
func New(o Options) (*Directory, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	tenants, err := otter.New(&otter.Options[visitor.TenantID, *tenant.Tenant]{
		MaximumSize:      o.CacheSize,
		ExpiryCalculator: otter.ExpiryCreating[visitor.TenantID, *tenant.Tenant](o.Staleness),
	})
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	routes, err := otter.New(&otter.Options[source.Route, visitor.TenantID]{
		MaximumSize:      o.CacheSize,
		ExpiryCalculator: otter.ExpiryCreating[source.Route, visitor.TenantID](o.Staleness),
	})
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return &Directory{o, tenants, routes}, nil
}

// Close stops the caches' housekeeping. Call it when the directory is no longer used.
func (d *Directory) Close() {
	d.tenants.StopAllGoroutines()
	d.routes.StopAllGoroutines()
}

// Get returns a tenant's record, at most Staleness old; concurrent callers share one read. It returns
// [ErrNotFound] for an unknown tenant, which is not cached, or an error of the store. The record is shared:
// do not change it.
func (d *Directory) Get(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	return d.tenants.Get(ctx, id, otter.LoaderFunc[visitor.TenantID, *tenant.Tenant](d.load))
}

// Fresh returns a tenant's record as it is now, and caches it.
func (d *Directory) Fresh(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	t, err := d.load(ctx, id)
	if err != nil {
		return nil, err
	}
	d.tenants.Set(id, t)
	return t, nil
}

// load reads a record. It outlives the caller that happens to be first, since others wait for it too.
func (d *Directory) load(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), readTimeout, errReadTimeout)
	defer cancel()
	t, _, err := d.read(ctx, id)
	return t, err
}

const readTimeout = 5 * time.Second

var errReadTimeout = errors.New("tenant record was not read in time")

func (d *Directory) read(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, store.Doc, error) {
	p, err := layout.Tenant(id)
	if err != nil {
		return nil, store.Doc{}, fmt.Errorf("read tenant: %w", err)
	}
	docs, err := d.opts.Store.Get(ctx, []store.Path{p})
	if err != nil {
		return nil, store.Doc{}, fmt.Errorf("read tenant: %w", err)
	}
	if !docs[0].Exists {
		return nil, docs[0], fmt.Errorf("%w", ErrNotFound)
	}
	return decode(docs[0]), docs[0], nil
}

// ByRoute returns the tenant that a route belongs to, at most Staleness old.
func (d *Directory) ByRoute(ctx context.Context, r source.Route) (visitor.TenantID, bool, error) {
	id, err := d.routes.Get(ctx, r, otter.LoaderFunc[source.Route, visitor.TenantID](d.loadRoute))
	if errors.Is(err, ErrNotFound) {
		return "", false, nil
	}
	return id, err == nil, err
}

func (d *Directory) loadRoute(ctx context.Context, r source.Route) (visitor.TenantID, error) {
	p, err := layout.Route(string(r.Kind), r.Value)
	if err != nil {
		return "", ErrNotFound // a value that cannot be a route is nobody's
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), readTimeout, errReadTimeout)
	defer cancel()
	docs, err := d.opts.Store.Get(ctx, []store.Path{p})
	if err != nil {
		return "", fmt.Errorf("read route: %w", err)
	}
	if !docs[0].Exists {
		return "", ErrNotFound
	}
	return visitor.TenantID(docs[0].Fields.Text("tenant_id")), nil
}

// List returns tenants in the order of their ids, after a given one.
func (d *Directory) List(ctx context.Context, after visitor.TenantID, limit int) ([]*tenant.Tenant, error) {
	q := store.Query{Collection: layout.TenantCollection(), Limit: limit}
	if after != "" {
		p, err := layout.Tenant(after)
		if err != nil {
			return nil, fmt.Errorf("list tenants: %w", err)
		}
		q.After = &store.Doc{Path: p}
	}
	docs, err := d.opts.Store.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	out := make([]*tenant.Tenant, len(docs))
	for i := range docs {
		out[i] = decode(docs[i])
	}
	return out, nil
}

// Create stores a new tenant with its routes. It returns [ErrExists], [ErrTaken] or what Validate finds.
func (d *Directory) Create(ctx context.Context, t *tenant.Tenant) (*tenant.Tenant, error) {
	n := *t
	if n.Status == "" {
		n.Status = tenant.Active
	}
	n.Version = 1
	n.CreatedAt = d.now()
	n.UpdatedAt = n.CreatedAt
	if _, _, err := d.read(ctx, n.ID); err == nil {
		return nil, fmt.Errorf("%w", ErrExists)
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return d.write(ctx, &n, nil, store.Version{})
}

// Update changes a tenant: change is given a copy of the stored record. It returns [ErrNotFound],
// [ErrTaken], [ErrChanged] or what Validate finds; the stored record is then as it was.
func (d *Directory) Update(ctx context.Context, id visitor.TenantID, change func(*tenant.Tenant) error) (*tenant.Tenant, error) {
	old, doc, err := d.read(ctx, id)
	if err != nil {
		return nil, err
	}
	n := *decode(doc) // not *old: they would share lists, and change may edit one in place
	if err := change(&n); err != nil {
		return nil, err
	}
	n.ID, n.CreatedAt = old.ID, old.CreatedAt
	n.Version = old.Version + 1
	n.UpdatedAt = d.now()
	return d.write(ctx, &n, old, doc.Version)
}

func (d *Directory) now() time.Time { return d.opts.Now().UTC().Truncate(time.Microsecond) }

// write commits a record together with its routes: new routes are created, lost ones deleted. Each route
// has one owner because creating it fails when it exists.
func (d *Directory) write(ctx context.Context, n, old *tenant.Tenant, v store.Version) (*tenant.Tenant, error) {
	if err := normalize(n); err != nil {
		return nil, err
	}
	if err := n.Validate(d.opts.Registry); err != nil {
		return nil, fmt.Errorf("tenant: %w", err)
	}
	f, err := encode(n)
	if err != nil {
		return nil, err
	}
	p, err := layout.Tenant(n.ID)
	if err != nil {
		return nil, fmt.Errorf("write tenant: %w", err)
	}
	w := store.Write{Path: p, Fields: f, IfVersion: v, IfMissing: old == nil}
	gained, lost := routeChanges(n, old)
	writes, err := routeWrites(n.ID, gained, lost)
	if err != nil {
		return nil, err
	}
	if err := d.commit(ctx, n.ID, append([]store.Write{w}, writes...), gained); err != nil {
		return nil, err
	}
	d.tenants.Set(n.ID, n)
	for _, r := range append(gained, lost...) {
		d.routes.Invalidate(r)
	}
	return n, nil
}

// contentions is how often a write that was refused though all its preconditions hold is tried.
const contentions = 5

// commit writes a record, the first write, and its routes.
func (d *Directory) commit(ctx context.Context, id visitor.TenantID, writes []store.Write, gained []source.Route) error {
	for try := 1; ; try++ {
		err := d.opts.Store.Commit(ctx, writes)
		switch {
		case err == nil:
			return nil
		case code.Of(err) == code.Conflict:
			if err := d.conflict(ctx, id, writes[0], gained); err != nil {
				return err
			}
		}
		if code.Of(err) != code.Conflict || try == contentions {
			return fmt.Errorf("write tenant: %w", err)
		}
	}
}

// conflict finds out which precondition failed; nil when none did and the write was refused for contention.
func (d *Directory) conflict(ctx context.Context, id visitor.TenantID, record store.Write, gained []source.Route) error {
	for _, r := range gained {
		owner, err := d.loadRoute(ctx, r)
		if err == nil && owner != id {
			return fmt.Errorf("%w: %s %s", ErrTaken, r.Kind, r.Value)
		}
	}
	docs, err := d.opts.Store.Get(ctx, []store.Path{record.Path})
	switch {
	case err != nil:
		return fmt.Errorf("read tenant: %w", err)
	case record.IfMissing && docs[0].Exists:
		return fmt.Errorf("%w", ErrExists)
	case !record.IfMissing && !time.Time(docs[0].Version).Equal(time.Time(record.IfVersion)):
		return fmt.Errorf("%w", ErrChanged)
	}
	return nil
}

func decode(doc store.Doc) *tenant.Tenant {
	var r record
	fields.Decode(doc.Fields, &r)
	return r.tenant(visitor.TenantID(doc.Path.ID()))
}
