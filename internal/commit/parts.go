package commit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/parts"
	"github.com/usherhq/usher/internal/store"
)

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
	return len(i.Raw) > parts.Size || len(i.Raw)+rest+rest/4+itemOverhead > store.MaxDocument
}

// parts is how many documents hold the unit's raw payload besides the record, 0 when it fits.
func (u *unit) parts() int {
	if !u.item.inParts() || u.bare() {
		return 0
	}
	return (len(u.item.Raw) + parts.Size - 1) / parts.Size
}

// writeParts stores what does not fit records, before the records are created: a record whose parts are
// missing is never seen. Their ids come from the payload, since another delivery's may differ, so writing them again is
// harmless.
func (c *Committer) writeParts(ctx context.Context, units []*unit) error {
	expire := c.opts.Now().UTC().Add(c.opts.Retention)
	for _, u := range units {
		if u.partsOf == u.id || u.parts() == 0 {
			continue // nothing to write, or written in an earlier try
		}
		sum := sha256.Sum256(u.item.Raw)
		u.rawKey = hex.EncodeToString(sum[:8])
		n, err := parts.Write(ctx, c.opts.Store, func(i int) (store.Path, error) {
			return layout.RawPart(u.item.Event.TenantID, u.id, u.rawKey, i)
		}, u.item.Raw, expire)
		c.commits.Add(int64(n))
		c.writes.Add(int64(n))
		if err != nil {
			return err
		}
		u.partsOf = u.id
	}
	return nil
}
