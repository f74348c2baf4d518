package held

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/parts"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

// page is how many records are read at a time: with maxInline, at most 6.4 MiB.
const page = 100

// Count returns how many events of a tenant are held, at most limit: it reads them all.
func Count(ctx context.Context, s store.Store, t visitor.TenantID, limit int) (int, error) {
	n := 0
	err := walk(ctx, s, t, func(docs []store.Doc) (bool, error) {
		n += len(docs)
		return n < limit, nil
	})
	return min(n, limit), err
}

// walk reads a tenant's held events in the order of their ids, page by page, while more says so.
func walk(ctx context.Context, s store.Store, t visitor.TenantID, more func([]store.Doc) (bool, error)) error {
	collection, err := layout.HeldCollection(t)
	if err != nil {
		return fmt.Errorf("held: %w", err)
	}
	q := store.Query{Collection: collection, Limit: page}
	for {
		docs, err := s.Query(ctx, q)
		if err != nil {
			return fmt.Errorf("held: %w", err)
		}
		if len(docs) == 0 {
			return nil
		}
		if ok, err := more(docs); !ok || err != nil || len(docs) < page {
			return err
		}
		q.After = &docs[len(docs)-1]
	}
}

// ReleaseOptions say how events are released.
type ReleaseOptions struct {
	Events queue.Publisher // the events topic
	// Rate is how many events a second are released; 0 for as fast as it goes.
	Rate float64
	// Allowed is asked before each page of events; its error ends the run. Nil allows all.
	Allowed func(context.Context) error
	// Progress is told how many were released so far, one call at a time; nil for nobody.
	Progress func(released int)
}

// Refusal says why an event was not released. It stays held.
type Refusal struct {
	ID     visitor.EventID `json:"id"`
	Detail string          `json:"detail"`
}

// maxRefusals is how many refusals a report names.
const maxRefusals = 100

// Report is what became of a tenant's held events.
type Report struct {
	Released int       `json:"released"`
	Refused  int       `json:"refused"` // what can never be published
	Refusals []Refusal `json:"refusals,omitempty"`
}

// Release goes once through a tenant's held events and publishes each with its data and attributes, so that it has the
// identity and the first receipt that it had; it is deleted when Pub/Sub has acknowledged it. What is held
// meanwhile, by daemons that do not know yet that the tenant is active, is for the next call; so is an event that came
// again meanwhile. Being broken off, it goes on where it was; an event that is published twice has one effect.
//
// An error is the platform's, the context's or that of Allowed: the report then says how far it got.
func Release(ctx context.Context, s store.Store, t visitor.TenantID, o ReleaseOptions) (*Report, error) {
	if o.Events == nil || o.Rate < 0 {
		return nil, errors.New("release: want events and a rate of at least 0")
	}
	limit := rate.Inf
	if o.Rate > 0 {
		limit = rate.Limit(o.Rate)
	}
	r := &release{store: s, tenant: t, opts: o, limiter: rate.NewLimiter(limit, 1)}
	err := walk(ctx, s, t, func(docs []store.Doc) (bool, error) {
		if o.Allowed != nil {
			if err := o.Allowed(ctx); err != nil {
				return false, err
			}
		}
		g, ctx := errgroup.WithContext(ctx)
		for i := range docs {
			g.Go(func() error { return r.one(ctx, docs[i]) })
		}
		return true, g.Wait()
	})
	if err != nil {
		return &r.report, fmt.Errorf("release: %w", err)
	}
	return &r.report, nil
}

// release is one run.
type release struct {
	store   store.Store
	tenant  visitor.TenantID
	opts    ReleaseOptions
	limiter *rate.Limiter

	mu     sync.Mutex
	report Report
}

// one releases one event.
func (r *release) one(ctx context.Context, d store.Doc) error {
	if err := r.limiter.Wait(ctx); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	rec := load(r.tenant, d)
	m, err := rec.message(ctx, r.store)
	if errors.Is(err, parts.ErrDamaged) {
		r.refused(d, "its payload is damaged")
		return nil
	}
	if err == nil {
		_, err = r.opts.Events.Publish(ctx, m)
	}
	switch code.Of(err) {
	case code.OK:
	case code.Invalid, code.TooLarge:
		r.refused(d, "does not fit a message")
		return nil
	default:
		return err
	}
	if err := r.remove(ctx, d, &rec); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Released++
	if r.opts.Progress != nil {
		r.opts.Progress(r.report.Released)
	}
	return nil
}

func (r *release) refused(d store.Doc, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Refused++
	if len(r.report.Refusals) < maxRefusals {
		r.report.Refusals = append(r.report.Refusals, Refusal{visitor.EventID(d.Path.ID()), detail})
	}
}

// remove deletes a record with its parts, unless the event came again since it was read.
func (r *release) remove(ctx context.Context, d store.Doc, rec *record) error {
	writes := []store.Write{{Path: d.Path, Delete: true, IfVersion: d.Version}}
	paths, err := parts.Paths(rec.place, rec.parts)
	if err != nil {
		return err
	}
	for _, p := range paths {
		writes = append(writes, store.Write{Path: p, Delete: true})
	}
	for range maxTries {
		err = r.store.Commit(ctx, writes)
		if c := code.Of(err); c != code.Conflict && c != code.Unavailable {
			break
		}
		docs, readErr := r.store.Get(ctx, []store.Path{d.Path})
		switch {
		case readErr != nil:
			return readErr
		case !docs[0].Exists || !time.Time(docs[0].Version).Equal(time.Time(d.Version)):
			return nil // deleted, the response was lost; or it came again and is for the next run
		}
	}
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}
