package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/store"
)

// RedriveOptions say how dead letters are put back.
type RedriveOptions struct {
	// DryRun resolves everything and says what would become of it; nothing is published or written.
	DryRun bool
	// Again redrives what was redriven before, too.
	Again bool
	// AllowStale also puts back what was first received longer ago than Window. An event whose record has expired since is
	// stored and counted anew then.
	AllowStale bool
	// Rate is how many dead letters a second are put back; 0 for as fast as it goes.
	Rate float64
	// Operator is who does it, for the audit record.
	Operator string
	// Progress is called after each dead letter, one call at a time; nil for nobody.
	Progress func(done, total int)

	Events   queue.Publisher // the events topic; not needed for a dry run
	Resolver *resolve.Resolver
	// Endpoints are those that parked webhooks came in by; Cookbook stands for the cookbook's publishers.
	Endpoints []resolve.Endpoint
	Cookbook  *resolve.Endpoint
	// Window is the dedupe window: what was first received longer ago is refused, unless AllowStale.
	Window time.Duration
	Now    func() time.Time
}

func (o *RedriveOptions) validate() error {
	var errs []error
	for what, ok := range map[string]bool{
		"events: required": o.Events != nil || o.DryRun, "resolver: required": o.Resolver != nil,
		"cookbook: required": o.Cookbook != nil, "now: required": o.Now != nil,
		"window: want more than 0": o.Window > 0, "rate: negative": o.Rate >= 0,
	} {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	return errors.Join(errs...)
}

// Refusal says why a dead letter was not put back.
type Refusal struct {
	ID     string          `json:"id"`
	Reason envelope.Reason `json:"reason"`
	Detail string          `json:"detail"`
}

// maxRefusals is how many refusals a report names.
const maxRefusals = 100

// Report is what became of the dead letters that were meant.
type Report struct {
	AuditID   string    `json:"audit_id,omitempty"` // of the audit record; a dry run has none
	DryRun    bool      `json:"dry_run"`
	Matched   int       `json:"matched"`
	Redriven  int       `json:"redriven"`  // or would be, of a dry run
	Published int       `json:"published"` // events: a webhook can have several, or none
	Skipped   int       `json:"skipped"`   // redriven before, or gone
	Refused   int       `json:"refused"`
	Stale     int       `json:"stale"`              // of those refused: AllowStale puts them back
	Refusals  []Refusal `json:"refusals,omitempty"` // the first hundred
}

// Redrive puts dead letters back: a message with its data and attributes, a webhook through what resolves it in
// ingest, both with the identities and the first receipt they have. Each is marked as redriven once Pub/Sub has
// acknowledged it, so a run that broke off goes on where it was; redriving twice has one effect.
//
// What can never be put back as it is gets counted as refused. An error is the platform's or the context's: the
// report then says how far it got.
func Redrive(ctx context.Context, s store.Store, sel Selection, o RedriveOptions) (*Report, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("redrive: %w", err)
	}
	ids, err := sel.resolve(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("redrive: %w", err)
	}
	limit := rate.Inf
	if o.Rate > 0 {
		limit = rate.Limit(o.Rate)
	}
	run := &redrive{store: s, opts: o, limiter: rate.NewLimiter(limit, 1), report: Report{DryRun: o.DryRun, Matched: len(ids)}}
	if o.DryRun {
		return &run.report, run.all(ctx, ids)
	}
	a := newAudit("redrive", o.Operator, sel, o.Now)
	a.fields = append(a.fields, store.Field{Name: "allow_stale", Value: o.AllowStale})
	if err := a.begin(ctx, s, len(ids)); err != nil {
		return nil, fmt.Errorf("redrive: %w", err)
	}
	run.report.AuditID = a.id
	err = run.all(ctx, ids)
	r := &run.report
	return r, errors.Join(err, a.end(ctx, s, err, store.Fields{
		{Name: "redriven", Value: int64(r.Redriven)}, {Name: "published", Value: int64(r.Published)},
		{Name: "skipped", Value: int64(r.Skipped)}, {Name: "refused", Value: int64(r.Refused)},
		{Name: "stale", Value: int64(r.Stale)},
	}))
}

// redrive is one run.
type redrive struct {
	store   store.Store
	opts    RedriveOptions
	limiter *rate.Limiter

	mu     sync.Mutex
	report Report
	done   int
}

func (r *redrive) all(ctx context.Context, ids []string) error {
	for some := range slices.Chunk(ids, chunk) {
		recs, err := read(ctx, r.store, some)
		if err != nil {
			return fmt.Errorf("redrive: %w", err)
		}
		r.count(len(some)-len(recs), func(rep *Report) { rep.Skipped += len(some) - len(recs) })
		g, ctx := errgroup.WithContext(ctx)
		for i := range recs {
			g.Go(func() error { return r.one(ctx, &recs[i]) })
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("redrive: %w", err)
		}
	}
	return nil
}

// count changes the report and tells how far the run is.
func (r *redrive) count(n int, change func(*Report)) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.report)
	r.done += n
	if r.opts.Progress != nil {
		r.opts.Progress(r.done, r.report.Matched)
	}
}

// one puts one dead letter back.
func (r *redrive) one(ctx context.Context, rec *Record) error {
	if rec.Status == Redriven && !r.opts.Again {
		r.count(1, func(rep *Report) { rep.Skipped++ })
		return nil
	}
	if err := r.limiter.Wait(ctx); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	msgs, refused, err := r.messages(ctx, rec)
	if err != nil {
		return err
	}
	if !r.opts.DryRun {
		why, err := r.publish(ctx, msgs)
		if err != nil {
			return err
		}
		if refused == nil {
			refused = why
		}
		if refused == nil {
			if err := r.mark(ctx, rec); err != nil {
				return err
			}
		}
	}
	r.count(1, func(rep *Report) {
		rep.Published += len(msgs)
		if refused == nil {
			rep.Redriven++
			return
		}
		rep.Refused++
		if refused.Reason == envelope.ReasonStale {
			rep.Stale++
		}
		if len(rep.Refusals) < maxRefusals {
			rep.Refusals = append(rep.Refusals, Refusal{rec.ID, refused.Reason, refused.Detail})
		}
	})
	return nil
}

// publish publishes messages one after another. What no message can hold is a refusal.
func (r *redrive) publish(ctx context.Context, msgs []*queue.Message) (*resolve.Error, error) {
	for _, m := range msgs {
		_, err := r.opts.Events.Publish(ctx, m)
		switch code.Of(err) {
		case code.OK:
		case code.Invalid, code.TooLarge:
			return refusal(envelope.ReasonTooLarge, "does not fit a message"), nil
		default:
			return nil, fmt.Errorf("publish: %w", err)
		}
	}
	return nil, nil
}

func refusal(reason envelope.Reason, detail string) *resolve.Error {
	return &resolve.Error{Reason: reason, Detail: detail}
}

// mark notes that a dead letter was put back. It is finished even when the run is broken off, and counts once even
// when a response is lost.
func (r *redrive) mark(ctx context.Context, rec *Record) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), markTimeout, errMark)
	defer cancel()
	path, err := layout.DeadLetter(rec.ID)
	if err != nil {
		return err
	}
	at := settle(r.opts.Now())
	for range maxTries {
		err = r.store.Commit(ctx, []store.Write{{
			Path: path, Merge: true, IfVersion: rec.version,
			Fields: store.Fields{{Name: "status", Value: string(Redriven)}, {Name: "redriven_at", Value: at}},
			Add:    []store.Increment{{Field: []string{"redrives"}, N: 1}},
		}})
		if c := code.Of(err); c == code.OK || c != code.Conflict && c != code.Unavailable {
			break
		}
		now, getErr := Get(ctx, r.store, rec.ID)
		switch {
		case errors.Is(getErr, ErrNotFound): // purged or expired since
			return nil
		case getErr != nil:
			return getErr
		case now.Status == Redriven && now.RedrivenAt.Equal(at):
			return nil // applied, the response was lost
		case now.ParkedAt.After(at):
			return nil // parked again since: it is another one now
		}
		rec = now
	}
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

const markTimeout = 10 * time.Second

var errMark = errors.New("dead letter was put back and not marked in time")
