// Package commit carries out the effects of many events, of many tenants, in atomic Commits: exactly once each.
package commit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/usherhq/usher/internal/batch"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// Options configure a [Committer]. All are required.
type Options struct {
	Store       store.Store
	Now         func() time.Time
	MaxEvents   int           // events of one Commit
	MaxBytes    int           // bytes of one Commit, below store.MaxCommit
	Linger      time.Duration // how long an event may wait for company while Commits are under way
	Concurrency int           // Commits under way at a time
	Timeout     time.Duration // for one batch with all its tries
	Shards      int           // usage shards of a tenant and month
	CacheSize   int           // committed ids remembered, to find duplicates without reading
	Retention   time.Duration // how long records and visitors are kept
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	for what, bad := range map[string]bool{
		"store and now are required":              o.Store == nil || o.Now == nil,
		"max events: want 1 to 150":               o.MaxEvents < 1 || o.MaxEvents > 150,
		"max bytes: want 64 KiB to below 2 MiB":   o.MaxBytes < 64<<10 || o.MaxBytes >= store.MaxCommit,
		"concurrency: want at least 1":            o.Concurrency < 1,
		"timeout: want more than 0":               o.Timeout <= 0,
		"shards: want at least 1":                 o.Shards < 1,
		"cache size: want at least 1":             o.CacheSize < 1,
		"retention: want more than 0":             o.Retention <= 0,
		"linger: want 0 or more, below a second ": o.Linger < 0 || o.Linger >= time.Second,
	} {
		if bad {
			errs = append(errs, errors.New(what))
		}
	}
	return errors.Join(errs...)
}

// Stats count what a committer did.
type Stats struct {
	Commits    int64 // Commits that were applied
	Writes     int64 // documents written by them
	Reads      int64 // documents read
	Conflicts  int64 // Commits refused for a conflict
	Events     int64 // events stored
	Duplicates int64 // events that were there already
}

// Committer commits events in batches. It is safe for concurrent use.
type Committer struct {
	opts    Options
	batcher *batch.Batcher[*Item]
	done    *otter.Cache[eventKey, time.Time] // committed ids -> their first receipt
	shard   atomic.Uint32

	commits, writes, reads, conflicts, events, duplicates atomic.Int64
}

// New returns a committer.
func New(o Options) (*Committer, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("committer: %w", err)
	}
	done, err := otter.New(&otter.Options[eventKey, time.Time]{MaximumSize: o.CacheSize})
	if err != nil {
		return nil, fmt.Errorf("committer: %w", err)
	}
	c := &Committer{opts: o, done: done}
	c.shard.Store(rand.Uint32())
	c.batcher, err = batch.New(batch.Options[*Item]{
		MaxItems: o.MaxEvents, MaxBytes: o.MaxBytes, Linger: o.Linger, Concurrency: o.Concurrency,
		Size: (*Item).size, Key: (*Item).visitorKey, Flush: c.flush,
	})
	if err != nil {
		return nil, fmt.Errorf("committer: %w", err)
	}
	return c, nil
}

// Add commits one event's effects together with those of others and returns when that is done; Result is
// then set. An error carries the code of its cause: code.Invalid and code.TooLarge mean that the store
// refuses this very event, anything else that it should be tried again, which is safe.
func (c *Committer) Add(ctx context.Context, it *Item) error { return c.batcher.Add(ctx, it) }

// Close finishes what was added and refuses the rest.
func (c *Committer) Close(ctx context.Context) error { return c.batcher.Close(ctx) }

// Stats returns the counts so far.
func (c *Committer) Stats() Stats {
	return Stats{
		c.commits.Load(), c.writes.Load(), c.reads.Load(), c.conflicts.Load(), c.events.Load(), c.duplicates.Load(),
	}
}

// flush commits a batch within one deadline of its own: the callers' contexts may be ending.
func (c *Committer) flush(items []*Item) []error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.opts.Timeout, errTimeout)
	defer cancel()
	errs := make([]error, len(items))
	index := make(map[*Item]int, len(items))
	for i, it := range items {
		index[it] = i
	}
	report := func(it *Item, err error) { errs[index[it]] = err }
	for len(items) > 0 {
		units, later := gather(items, report)
		c.run(ctx, units, report)
		items = later
	}
	return errs
}

var errTimeout = errors.New("batch was not committed in time")

// run commits units, halving them where the store refuses the whole, and reports each item's error.
func (c *Committer) run(ctx context.Context, units []*unit, report func(*Item, error)) {
	left, err := c.guarded(ctx, units)
	if err == nil {
		return
	}
	if splits(err) && len(left) > 1 && ctx.Err() == nil {
		half := len(left) / 2
		c.run(ctx, left[:half], report)
		if ctx.Err() == nil {
			c.run(ctx, left[half:], report)
			return
		}
		left, err = left[half:], overdue(ctx, err)
	}
	for _, u := range left {
		report(u.item, err)
		for _, r := range u.repeats {
			report(r, err)
		}
	}
}

// guarded is try, with a panic turned into a refusal: the batch is then halved until the event that causes it
// stands alone, instead of ending the process each time it is delivered.
func (c *Committer) guarded(ctx context.Context, units []*unit) (left []*unit, err error) {
	defer func() {
		if r := recover(); r != nil {
			// What was thrown may hold personal data, so it is not part of the error.
			left, err = units, code.New(code.Invalid, "commit", fmt.Errorf("panic of type %T", r))
		}
	}()
	return c.try(ctx, units)
}

// splits reports whether a smaller batch may succeed where this one did not.
func splits(err error) bool {
	switch code.Of(err) {
	case code.Invalid, code.TooLarge, code.Internal, code.Conflict:
		return true
	}
	return false
}

// How often an error is tried before the batch itself is suspected: an internal one, and a conflict, which
// comes again and again when another process keeps writing one of the visitors. An event alone is tried more
// often, about a second long, and then given back: the others of its batch wait for it.
const (
	internalTries = 2
	conflictTries = 3
	aloneTries    = 8
)

// try commits units until they are stored or known to be, or until an error that trying again at once will
// not mend; it then returns the units that are left. Units that turn out to be duplicates are finished on the way.
func (c *Committer) try(ctx context.Context, units []*unit) ([]*unit, error) {
	units, suspects := c.withoutKnown(units)
	var docs *documents
	internal, conflicts := 0, 0
	for attempt := 0; ; attempt++ {
		var err error
		if docs == nil {
			if docs, err = c.read(ctx, units, suspects); err == nil {
				units, err = c.settle(ctx, units, docs)
			}
		}
		if err == nil {
			if len(units) == 0 {
				return nil, nil
			}
			if err = c.commit(ctx, units, docs); err == nil {
				return nil, nil
			}
		}
		switch code.Of(err) {
		case code.Conflict:
			c.conflicts.Add(1)
			if conflicts++; conflicts >= conflictTries && len(units) > 1 || conflicts >= aloneTries {
				return units, err
			}
			docs, suspects = nil, all(units) // read again, and look for duplicates everywhere
		case code.Internal:
			if internal++; internal >= internalTries {
				return units, err
			}
			docs, suspects = nil, all(units)
		case code.Unavailable:
			docs, suspects = nil, all(units) // it may have been applied
		default:
			if ctx.Err() != nil {
				return units, overdue(ctx, err)
			}
			return units, err
		}
		if !pause(ctx, attempt) {
			return units, overdue(ctx, err)
		}
	}
}

// overdue is the error of a batch whose time ran out: it may have been applied. One that kept conflicting says
// nothing about the store, so its code stays.
func overdue(ctx context.Context, last error) error {
	if code.Of(last) == code.Conflict {
		return code.New(code.Conflict, "commit", context.Cause(ctx))
	}
	return code.New(code.Unavailable, "commit", context.Cause(ctx))
}

func all(units []*unit) map[*unit]bool {
	m := make(map[*unit]bool, len(units))
	for _, u := range units {
		m[u] = true
	}
	return m
}

// pause waits a random while that grows with each attempt; false when the deadline does not allow it.
func pause(ctx context.Context, attempt int) bool {
	limit := min(10*time.Millisecond<<min(attempt, 10), time.Second)
	t := time.NewTimer(time.Duration(rand.Int64N(int64(limit))))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// withoutKnown finishes units whose id was committed by this process. Units whose id may stand for a later
// occurrence are suspects: their stored record must be looked at.
func (c *Committer) withoutKnown(units []*unit) (left []*unit, suspects map[*unit]bool) {
	suspects = map[*unit]bool{}
	left = units[:0:0]
	for _, u := range units {
		at, ok := c.done.GetIfPresent(u.key())
		switch {
		case !ok:
			left = append(left, u)
		case sameOccurrence(u.item.Event, u.item.Event.Receipt.ReceivedAt, at):
			c.duplicate(u)
		default:
			suspects[u] = true
			left = append(left, u)
		}
	}
	return left, suspects
}

func (c *Committer) duplicate(u *unit) {
	u.finish(true)
	c.duplicates.Add(int64(1 + len(u.repeats)))
}
