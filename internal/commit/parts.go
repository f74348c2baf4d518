package commit

import (
	"context"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// maxRaw is the largest compressed payload that is kept in the identification itself; a larger one is kept in
// parts of that size, in documents below it.
const maxRaw = 900 << 10

// rest is about how many bytes of an item are not its raw payload, which is base64 in the message.
func (i *Item) rest() int {
	if len(i.JSON) > 0 {
		return len(i.JSON)
	}
	return max(i.Bytes-len(i.Raw)/3*4, 0)
}

// inParts reports whether an item's raw payload needs documents of its own: it is large, or it is not but does not
// fit one document together with its event. Numbers take more room there than in JSON, nothing else does.
func (i *Item) inParts() bool {
	if len(i.Raw) <= 64<<10 { // parting with it would not help
		return false
	}
	rest := i.rest()
	return len(i.Raw) > maxRaw || len(i.Raw)+rest+rest/4+itemOverhead > store.MaxDocument
}

// parts is how many documents hold the unit's raw payload besides the record, 0 when it fits.
func (u *unit) parts() int {
	if !u.item.inParts() || u.bare() {
		return 0
	}
	return (len(u.item.Raw) + maxRaw - 1) / maxRaw
}

// writeParts stores what does not fit records, before the records are created: a record whose parts are
// missing is never seen. Parts have deterministic ids and no precondition, so writing them again is harmless; that
// there is no record yet was read before, as another delivery's payload may differ.
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
