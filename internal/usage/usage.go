// Package usage counts what tenants are billed on: per tenant and month, in sharded counter documents.
//
// Counters change only in the same commit as the identification they count, so they are exact.
package usage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// Counts are the counters of one kind of thing.
type Counts struct {
	Events          int64 `json:"events"`          // every event
	Identifications int64 `json:"identifications"` // first matches
	Repeats         int64 `json:"repeats"`         // further events of a known visitor
}

func (c *Counts) add(o Counts) {
	c.Events += o.Events
	c.Identifications += o.Identifications
	c.Repeats += o.Repeats
}

// Month is a tenant's usage in one UTC month.
type Month struct {
	TenantID visitor.TenantID `json:"tenant_id"`
	Month    string           `json:"month"` // YYYY-MM
	Counts
	Days      map[string]Counts `json:"days"`      // by day, YYYY-MM-DD
	Sources   map[string]Counts `json:"sources"`   // by source
	Pages     map[string]int64  `json:"pages"`     // events by page id, for the keys in the tenant record
	Campaigns map[string]int64  `json:"campaigns"` // events by campaign id, likewise
	Custom    map[string]int64  `json:"custom"`    // what processors count
}

// Other is where pages and campaigns are counted that the tenant record does not list.
const Other = "other"

// Key names the counters of one tenant and month.
type Key struct {
	Tenant visitor.TenantID
	Month  string
}

// Delta gathers the increments of one commit. The zero value is ready for use.
type Delta struct {
	byKey map[Key]map[counter]int64
}

// counter is the path of a counter in its document, outermost name first, "" beyond its end.
type counter [3]string

func (c counter) path() []string {
	return slices.DeleteFunc(slices.Clone(c[:]), func(s string) bool { return s == "" })
}

// Match says what an event was to its visitor.
type Match uint8

// The matches.
const (
	NoMatch     Match = iota // no visitor is kept of it
	FirstMatch               // it created its visitor
	RepeatMatch              // its visitor was known
)

// Add counts one event.
func (d *Delta) Add(ev *visitor.Event, t *tenant.Tenant, match Match) {
	m := d.of(ev)
	bump := func(name string) {
		m[counter{name}]++
		m[counter{"days", ev.Day(), name}]++
		m[counter{"sources", ev.Source, name}]++
	}
	bump("events")
	switch match {
	case FirstMatch:
		bump("identifications")
	case RepeatMatch:
		bump("repeats")
	case NoMatch:
	}
	if id := ev.Attribution.PageID; id != "" && len(t.UsagePages) > 0 {
		m[counter{"pages", listed(id, t.UsagePages)}]++
	}
	if id := ev.Attribution.CampaignID; id != "" && len(t.UsageCampaigns) > 0 {
		m[counter{"campaigns", listed(id, t.UsageCampaigns)}]++
	}
}

// Count adds what a processor counts.
func (d *Delta) Count(ev *visitor.Event, c processor.Count) {
	d.of(ev)[counter{"custom", c.Name}] += c.N
}

func listed(id string, keys []string) string {
	if slices.Contains(keys, id) && store.CheckName(id) == nil {
		return id
	}
	return Other
}

// of returns the counters of the event's tenant and month.
func (d *Delta) of(ev *visitor.Event) map[counter]int64 {
	if d.byKey == nil {
		d.byKey = map[Key]map[counter]int64{}
	}
	k := Key{ev.TenantID, ev.Month()}
	m := d.byKey[k]
	if m == nil {
		m = map[counter]int64{}
		d.byKey[k] = m
	}
	return m
}

// Writes returns one counter write for each tenant and month, all on the given shard.
func (d *Delta) Writes(shard int) ([]store.Write, error) {
	out := make([]store.Write, 0, len(d.byKey))
	keys := slices.SortedFunc(maps.Keys(d.byKey), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Month, b.Month))
	})
	for _, k := range keys {
		p, err := layout.UsageShard(k.Tenant, k.Month, shard)
		if err != nil {
			return nil, err
		}
		w := store.Write{Path: p, Add: make([]store.Increment, 0, len(d.byKey[k]))}
		byName := func(a, b counter) int { return slices.Compare(a[:], b[:]) }
		for _, c := range slices.SortedFunc(maps.Keys(d.byKey[k]), byName) {
			w.Add = append(w.Add, store.Increment{Field: c.path(), N: d.byKey[k][c]})
		}
		out = append(out, w)
	}
	return out, nil
}

// ParseMonth checks a month given as YYYY-MM.
func ParseMonth(s string) (string, error) {
	if _, err := time.Parse("2006-01", s); err != nil {
		return "", fmt.Errorf("month %q: want YYYY-MM, such as 2026-11", s)
	}
	return s, nil
}

// Read sums a tenant's shards of one month. A month without events gives zeros.
func Read(ctx context.Context, s store.Store, t visitor.TenantID, month string, shards int) (*Month, error) {
	m := &Month{
		TenantID: t, Month: month, Days: map[string]Counts{}, Sources: map[string]Counts{},
		Pages: map[string]int64{}, Campaigns: map[string]int64{}, Custom: map[string]int64{},
	}
	paths := make([]store.Path, 0, shards)
	for i := range shards {
		p, err := layout.UsageShard(t, month, i)
		if err != nil {
			return nil, fmt.Errorf("read usage: %w", err)
		}
		paths = append(paths, p)
	}
	docs, err := s.Get(ctx, paths)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	for _, d := range docs {
		m.addShard(d.Fields)
	}
	return m, nil
}

func (m *Month) addShard(f store.Fields) {
	m.add(counts(f))
	for name, into := range map[string]map[string]Counts{"days": m.Days, "sources": m.Sources} {
		for _, e := range f.Map(name) {
			if sub, ok := e.Value.(store.Fields); ok {
				c := into[e.Name]
				c.add(counts(sub))
				into[e.Name] = c
			}
		}
	}
	for name, into := range map[string]map[string]int64{"pages": m.Pages, "campaigns": m.Campaigns, "custom": m.Custom} {
		for _, e := range f.Map(name) {
			if n, ok := e.Value.(int64); ok {
				into[e.Name] += n
			}
		}
	}
}

func counts(f store.Fields) Counts {
	return Counts{Events: f.Int("events"), Identifications: f.Int("identifications"), Repeats: f.Int("repeats")}
}
