package commit

import (
	"context"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/usage"
)

// documents are what was read for one try.
type documents struct {
	visitors map[string]store.Doc // by visitorKey
	records  map[*unit]store.Doc  // of suspects
}

// read gets, in one call, the visitor of every unit and the record of every suspect.
func (c *Committer) read(ctx context.Context, units []*unit, suspects map[*unit]bool) (*documents, error) {
	paths := make([]store.Path, 0, len(units)+len(suspects))
	keys := make([]string, 0, len(units))
	d := &documents{visitors: make(map[string]store.Doc, len(units)), records: map[*unit]store.Doc{}}
	for _, u := range units {
		if u.visitor == "" {
			continue
		}
		if _, ok := d.visitors[u.visitor]; ok {
			continue
		}
		p, err := layout.Visitor(u.item.Event.TenantID, u.item.Event.VisitorID)
		if err != nil {
			return nil, err
		}
		d.visitors[u.visitor] = store.Doc{}
		keys = append(keys, u.visitor)
		paths = append(paths, p)
	}
	order := make([]*unit, 0, len(suspects))
	for _, u := range units {
		if suspects[u] {
			order = append(order, u)
			paths = append(paths, u.doc)
		}
	}
	if len(paths) == 0 {
		return d, nil
	}
	docs, err := c.get(ctx, paths)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		d.visitors[k] = docs[i]
	}
	for i, u := range order {
		d.records[u] = docs[len(keys)+i]
	}
	return d, nil
}

func (c *Committer) get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	c.reads.Add(int64(len(paths)))
	return c.opts.Store.Get(ctx, paths)
}

// settle finishes the units that what was read shows to be duplicates and gives later occurrences of a body
// their own id. It returns the units that are still to be committed, also with an error.
func (c *Committer) settle(ctx context.Context, units []*unit, d *documents) ([]*unit, error) {
	left := units[:0:0]
	for i, u := range units {
		rec, looked := d.records[u]
		if !looked && c.known(u, d) {
			if u.item.Event.RepeatAfterSeconds == 0 {
				c.remember(u, u.item.Event.Receipt.ReceivedAt)
				c.duplicate(u)
				continue
			}
			docs, err := c.get(ctx, []store.Path{u.doc})
			if err != nil {
				return append(left, units[i:]...), err
			}
			rec = docs[0]
		}
		if !rec.Exists {
			left = append(left, u)
			continue
		}
		same, err := c.conflicting(ctx, u, rec)
		if err != nil {
			return append(left, units[i:]...), err
		}
		if same.Exists {
			c.found(u, same)
		} else {
			left = append(left, u)
		}
	}
	return left, nil
}

// known reports whether the visitor's latest commits include the unit.
func (c *Committer) known(u *unit, d *documents) bool {
	doc := d.visitors[u.visitor]
	if !doc.Exists {
		return false
	}
	for _, id := range doc.Fields.List("recent") {
		if id == string(u.id) {
			return true
		}
	}
	return false
}

// conflicting decides about a unit whose record exists: the same event, whose record it returns, or a later
// occurrence of the same body, which gets an id of its own from its receipt day. The days before and after are
// looked at too: an occurrence just across midnight is the same.
func (c *Committer) conflicting(ctx context.Context, u *unit, rec store.Doc) (same store.Doc, err error) {
	ev := u.item.Event
	at := ev.Receipt.ReceivedAt
	if stored := profile.ReceivedAt(rec); u.id != ev.ID || sameOccurrence(ev, at, stored) {
		c.remember(u, stored)
		return rec, nil
	}
	today := ev.ID.Occurrence(ev.Day())
	var paths []store.Path
	for _, day := range []time.Duration{0, -24 * time.Hour, 24 * time.Hour} {
		id := ev.ID.Occurrence(at.Add(day).UTC().Format(time.DateOnly))
		p, err := layout.Identification(ev.TenantID, id)
		if err != nil {
			return store.Doc{}, err
		}
		paths = append(paths, p)
	}
	docs, err := c.get(ctx, paths)
	if err != nil {
		return store.Doc{}, err
	}
	for i, d := range docs {
		if d.Exists && (i == 0 || sameOccurrence(ev, at, profile.ReceivedAt(d))) {
			u.id, u.doc = visitor.EventID(d.Path.ID()), d.Path
			return d, nil
		}
	}
	return store.Doc{}, u.rename(today)
}

// remember keeps an id of this tenant as committed.
func (c *Committer) remember(u *unit, receivedAt time.Time) { c.done.Set(u.key(), receivedAt) }

// commit writes all units in one Commit.
func (c *Committer) commit(ctx context.Context, units []*unit, d *documents) error {
	if err := c.writeParts(ctx, units); err != nil {
		return err
	}
	now := c.opts.Now().UTC().Truncate(time.Microsecond) // as it is stored
	writes, err := c.prepare(units, d, now)
	if err != nil {
		return err
	}
	if err := c.opts.Store.Commit(ctx, writes); err != nil {
		switch code.Of(err) {
		case code.Unavailable, code.Internal, code.Canceled: // it may have been applied
			sent(units, now)
		}
		return err
	}
	c.commits.Add(1)
	c.writes.Add(int64(len(writes)))
	for _, u := range units {
		c.stored(u)
	}
	return nil
}

// prepare evaluates the effects against what was read: a record for each unit, one profile for each
// visitor, one counter document for each tenant and month.
func (c *Committer) prepare(units []*unit, d *documents, now time.Time) ([]store.Write, error) {
	expire := now.Add(c.opts.Retention)
	writes := make([]store.Write, 0, 2*len(units)+8)
	merged := make(map[string]*profile.Visitor, len(d.visitors))
	var order []string
	var counters usage.Delta
	for _, u := range units {
		v := merged[u.visitor]
		u.first = false
		if v == nil && u.visitor != "" {
			doc := d.visitors[u.visitor]
			v = profile.Load(doc)
			u.first = !doc.Exists
			merged[u.visitor] = v
			order = append(order, u.visitor)
		}
		apply(u, v, &counters)
		writes = append(writes, u.record(now, expire))
	}
	for _, k := range order {
		doc := d.visitors[k]
		writes = append(writes, store.Write{
			Path: doc.Path, Fields: merged[k].Fields(expire), IfMissing: !doc.Exists, IfVersion: doc.Version,
		})
	}
	more, err := counters.Writes(int(c.shard.Add(1) % uint32(c.opts.Shards)))
	if err != nil {
		return nil, err
	}
	return append(writes, more...), nil
}

// apply carries out a unit's effects on its visitor (nil without one) and on the counters.
func apply(u *unit, v *profile.Visitor, counters *usage.Delta) {
	ev, match := u.item.Event, usage.NoMatch
	if v != nil {
		match = usage.RepeatMatch
		if u.first {
			match = usage.FirstMatch
		}
		// A score alone also needs the visitor to know the event, so merging comes with either.
		v.Merge(ev, u.id)
	}
	for _, e := range u.item.Effects {
		switch e := e.(type) {
		case processor.AddScore:
			if v != nil {
				v.AddScore(e.Name, e.Points)
			}
		case processor.Meter:
			counters.Add(ev, u.item.Tenant, match)
		case processor.Count:
			if e.When == processor.Always || u.first {
				counters.Count(ev, e)
			}
		}
	}
}
