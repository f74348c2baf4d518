package commit

import (
	"context"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// maxRaw is the largest compressed payload that is kept in the identification itself; a larger one is kept in
// parts of that size, in documents below it.
const maxRaw = 900 << 10

// parts is how many documents hold the unit's raw payload besides the record, 0 when it fits.
func (u *unit) parts() int {
	if len(u.item.Raw) <= maxRaw || u.bare() {
		return 0
	}
	return (len(u.item.Raw) + maxRaw - 1) / maxRaw
}

// writeParts stores what does not fit records, before the records are created: a record whose parts are
// missing is never seen. Parts have deterministic ids and no precondition, so writing them again is harmless.
func (c *Committer) writeParts(ctx context.Context, units []*unit) error {
	expire := c.opts.Now().UTC().Add(c.opts.Retention)
	for _, u := range units {
		if u.partsOf == u.id {
			continue // written in an earlier try
		}
		for i := range u.parts() {
			p, err := layout.RawPart(u.item.Event.TenantID, u.id, i)
			if err != nil {
				return err
			}
			raw := u.item.Raw[i*maxRaw:]
			w := store.Write{Path: p, Fields: store.Fields{
				{Name: "raw", Value: raw[:min(len(raw), maxRaw)]},
				{Name: "expire_at", Value: expire},
			}}
			if err := c.opts.Store.Commit(ctx, []store.Write{w}); err != nil {
				return err
			}
			c.commits.Add(1)
			c.writes.Add(1)
		}
		u.partsOf = u.id
	}
	return nil
}
