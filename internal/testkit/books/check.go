package books

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/usage"
)

// Check reads everything that was expected and compares. An error means that the store could not be read.
func (e *Expected) Check(ctx context.Context, s store.Store, shards int) (*Report, error) {
	r := &Report{Distinct: e.distinct, Counters: true, FirstMatch: true, Parked: true}
	for _, t := range e.Tenants() {
		if err := e.checkTenant(ctx, s, t, shards, r); err != nil {
			return nil, err
		}
	}
	return r, e.checkLetters(ctx, s, r)
}

// found is what one tenant has.
type found struct {
	days, sources map[string]*usage.Counts // as the identifications tell them
	all           usage.Counts
	first         map[visitor.VisitorID]int // first matches of each visitor
}

func (e *Expected) checkTenant(ctx context.Context, s store.Store, t visitor.TenantID, shards int, r *Report) error {
	w := e.tenants[t]
	f := &found{days: map[string]*usage.Counts{}, sources: map[string]*usage.Counts{}, first: map[visitor.VisitorID]int{}}
	if err := w.checkIdentifications(ctx, s, t, f, r); err != nil {
		return err
	}
	if err := w.checkVisitors(ctx, s, t, f, r); err != nil {
		return err
	}
	return w.checkUsage(ctx, s, t, shards, f, r)
}

func (w *wanted) checkIdentifications(ctx context.Context, s store.Store, t visitor.TenantID, f *found, r *Report) error {
	p, err := layout.IdentificationCollection(t)
	if err != nil {
		return err
	}
	stored := 0
	err = each(ctx, s, p, func(d store.Doc) {
		id := visitor.EventID(d.Path.ID())
		who, ok := w.events[id]
		if !ok {
			r.Duplicated++
			r.deviate("tenant %s has an identification that nobody published: %s", t, id)
		} else {
			stored++
		}
		if got := visitor.TenantID(d.Fields.Text("tenant_id")); got != t {
			r.deviate("tenant %s holds a record of %s", t, got)
		}
		if got := visitor.VisitorID(d.Fields.Text("visitor_id")); ok && got != who {
			r.deviate("identification %s of tenant %s names another visitor", id, t)
		}
		f.add(d)
	})
	r.Stored += stored
	if lost := len(w.events) - stored; lost > 0 {
		r.Lost += lost
		r.deviate("tenant %s lacks %d of %d events", t, lost, len(w.events))
	}
	return err
}

// add counts an identification as usage should have counted it.
func (f *found) add(d store.Doc) {
	who := visitor.VisitorID(d.Fields.Text("visitor_id"))
	for _, c := range []*usage.Counts{&f.all, in(f.days, d.Fields.Text("period")), in(f.sources, d.Fields.Text("source"))} {
		c.Events++
		switch {
		case d.Fields.Bool("first_match"):
			c.Identifications++
		case who != "":
			c.Repeats++
		}
	}
	if d.Fields.Bool("first_match") {
		f.first[who]++
	}
}

func in(m map[string]*usage.Counts, key string) *usage.Counts {
	c := m[key]
	if c == nil {
		c = &usage.Counts{}
		m[key] = c
	}
	return c
}

func (w *wanted) checkVisitors(ctx context.Context, s store.Store, t visitor.TenantID, f *found, r *Report) error {
	wrong := func(format string, args ...any) {
		r.FirstMatch = false
		r.deviate("tenant %s: "+format, append([]any{t}, args...)...)
	}
	for id := range w.visitors {
		if n := f.first[id]; n != 1 {
			wrong("visitor %s has %d first matches", id, n)
		}
	}
	for id := range f.first {
		if _, ok := w.visitors[id]; !ok {
			wrong("a first match of %q, whom nobody published", id)
		}
	}
	p, err := layout.VisitorCollection(t)
	if err != nil {
		return err
	}
	have := 0
	err = each(ctx, s, p, func(d store.Doc) {
		id := visitor.VisitorID(d.Path.ID())
		n, ok := w.visitors[id]
		if !ok {
			wrong("visitor %s, whom nobody published", id)
			return
		}
		have++
		if got := d.Fields.Int("events"); got != n {
			wrong("visitor %s has %d events, want %d", id, got, n)
		}
	})
	if missing := len(w.visitors) - have; missing > 0 {
		wrong("%d of %d visitors are missing", missing, len(w.visitors))
	}
	return err
}

func (w *wanted) checkUsage(ctx context.Context, s store.Store, t visitor.TenantID, shards int, f *found, r *Report) error {
	months := map[string]bool{}
	for day := range w.days {
		months[day[:len("2006-01")]] = true
	}
	var all usage.Counts
	days, sources := map[string]*usage.Counts{}, map[string]*usage.Counts{}
	for month := range months {
		m, err := usage.Read(ctx, s, t, month, shards)
		if err != nil {
			return fmt.Errorf("check usage: %w", err)
		}
		sum(&all, m.Counts)
		for k, c := range m.Days {
			sum(in(days, k), c)
		}
		for k, c := range m.Sources {
			sum(in(sources, k), c)
		}
	}
	n, first := int64(len(w.events)), int64(len(w.visitors))
	want := usage.Counts{Events: n, Identifications: first, Repeats: n - first - w.unknown}
	r.Duplicated += max(0, all.Events-n)
	wrong := func(format string, args ...any) {
		r.Counters = false
		r.deviate("tenant %s: usage "+format, append([]any{t}, args...)...)
	}
	if all != want {
		wrong("is %+v, want %+v", all, want)
	}
	compare(w.days, f.days, days, wrong)
	compare(w.sources, f.sources, sources, wrong)
	return nil
}

func sum(to *usage.Counts, c usage.Counts) {
	to.Events += c.Events
	to.Identifications += c.Identifications
	to.Repeats += c.Repeats
}

// compare holds counters by day or source to the events published and to the identifications stored.
func compare(events map[string]int64, stored, counted map[string]*usage.Counts, wrong func(string, ...any)) {
	for k, n := range events {
		if c := in(counted, k); c.Events != n || *c != *in(stored, k) {
			wrong("of %s is %+v, want %d events and what the identifications say: %+v", k, *c, n, *in(stored, k))
		}
	}
	for k := range counted {
		if _, ok := events[k]; !ok {
			wrong("counts %s, of which nothing was published", k)
		}
	}
}

// checkLetters compares the dead letters with the poison.
func (e *Expected) checkLetters(ctx context.Context, s store.Store, r *Report) error {
	wrong := func(format string, args ...any) {
		r.Parked = false
		r.deviate(format, args...)
	}
	seen := map[string]int{}
	err := each(ctx, s, layout.DeadLetterCollection(), func(d store.Doc) {
		r.Letters++
		var attributes map[string]string
		_ = json.Unmarshal(d.Fields.Bytes("attributes"), &attributes) // what is not readable is no poison of ours
		id, reason := attributes[AttrPoison], envelope.Reason(d.Fields.Text("reason"))
		allowed, ok := e.poison[id]
		switch seen[id]++; {
		case !ok:
			wrong("a dead letter that was no poison: %s of tenant %s", reason, d.Fields.Text("tenant_id"))
		case seen[id] > 1:
			wrong("poison %s is %d dead letters", id, seen[id])
		case !slices.Contains(allowed, reason):
			wrong("poison %s was parked as %s, want one of %v", id, reason, allowed)
		}
	})
	missing := 0
	for id := range e.poison {
		if seen[id] == 0 {
			missing++
		}
	}
	if missing > 0 {
		wrong("%d of %d poisonous messages are no dead letters", missing, len(e.poison))
	}
	return err
}

// each lists a whole collection.
func each(ctx context.Context, s store.Store, collection store.Path, f func(store.Doc)) error {
	q := store.Query{Collection: collection, Limit: store.MaxLimit}
	for {
		docs, err := query(ctx, s, q)
		if err != nil {
			return fmt.Errorf("list %s: %w", collection.ID(), err)
		}
		for i := range docs {
			f(docs[i])
		}
		if len(docs) < q.Limit {
			return nil
		}
		q.After = &docs[len(docs)-1]
	}
}

// query tries again a few times: a busy emulator refuses now and then, and a check must not fail for that.
func query(ctx context.Context, s store.Store, q store.Query) (docs []store.Doc, err error) {
	for pause := 100 * time.Millisecond; pause < 5*time.Second; pause *= 2 {
		if docs, err = s.Query(ctx, q); err == nil {
			return docs, nil
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
	return nil, err
}
