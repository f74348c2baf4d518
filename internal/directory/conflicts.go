package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// Conflicts finds the routes of records that belong to another stored tenant or to an earlier record of the list,
// without writing. It returns an error for each record: nil, or one of [ErrTaken] for each such route. Records
// that [Directory.Check] refuses are left out. A route counts as its stored owner's though the list takes it away
// there. The second error is that of the store.
func (d *Directory) Conflicts(ctx context.Context, list []*tenant.Tenant) ([]error, error) {
	routes := make([][]source.Route, len(list))
	paths := map[source.Route]store.Path{}
	for i, t := range list {
		n, err := d.normal(t)
		if err != nil {
			continue
		}
		for _, r := range routesOf(n) {
			p, err := layout.Route(string(r.Kind), r.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: forbidden value: %w", r.Kind, err) // Validate refuses it
			}
			routes[i] = append(routes[i], r)
			paths[r] = p
		}
	}
	owners, err := d.owners(ctx, paths)
	if err != nil {
		return nil, err
	}
	out := make([]error, len(list))
	for i, t := range list {
		var errs []error
		for _, r := range routes[i] {
			if owner, ok := owners[r]; !ok {
				owners[r] = t.ID
			} else if owner != t.ID {
				errs = append(errs, fmt.Errorf("%w: %s %s of %s", ErrTaken, r.Kind, r.Value, owner))
			}
		}
		out[i] = errors.Join(errs...)
	}
	return out, nil
}

// readAtOnce is how many routes one call reads.
const readAtOnce = 300

// owners are the stored owners of routes.
func (d *Directory) owners(ctx context.Context, paths map[source.Route]store.Path) (map[source.Route]visitor.TenantID, error) {
	owners := make(map[source.Route]visitor.TenantID, len(paths))
	var routes []source.Route
	var batch []store.Path
	read := func() error {
		if len(batch) == 0 {
			return nil
		}
		docs, err := d.opts.Store.Get(ctx, batch)
		if err != nil {
			return fmt.Errorf("read routes: %w", err)
		}
		for i := range docs {
			if docs[i].Exists {
				owners[routes[i]] = visitor.TenantID(docs[i].Fields.Text("tenant_id"))
			}
		}
		routes, batch = routes[:0], batch[:0]
		return nil
	}
	for r, p := range paths {
		routes, batch = append(routes, r), append(batch, p)
		if len(batch) < readAtOnce {
			continue
		}
		if err := read(); err != nil {
			return nil, err
		}
	}
	return owners, read()
}
