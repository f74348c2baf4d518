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
	apart   apart
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
		Size: (*Item).size, Key: (*Item).key, Flush: c.flush,
		// They wait more than they work, so that they have room of their own.
		Group: c.apart.group, GroupConcurrency: 2 * o.Concurrency,
	})
	if err != nil {
		return nil, fmt.Errorf("committer: %w", err)
	}
	return c, nil
}

// Add commits one event's effects together with those of others and returns when that is done; Result is
// then set. An error carries the code of its cause: code.Invalid and code.TooLarge mean that the store
// refuses this very event, anything else that it should be tried again, which is safe.
func (c *Committer) Add(ctx context.Context, it *Item) error {
	it.trim()
	it.visitor = it.visitorKey()
	return c.batcher.Add(ctx, it)
}

// Close finishes what was added and refuses the rest.
func (c *Committer) Close(ctx context.Context) error { return c.batcher.Close(ctx) }

// Stats returns the counts so far.
func (c *Committer) Stats() Stats {
	return Stats{
		c.commits.Load(), c.writes.Load(), c.reads.Load(), c.conflicts.Load(), c.events.Load(), c.duplicates.Load(),
	}
}

// withoutKnown finishes units whose id was committed by this process. Suspects are units whose stored record must be
// looked at: their id may stand for a later occurrence, or they would overwrite parts that belong to it.
func (c *Committer) withoutKnown(units []*unit) (left []*unit, suspects map[*unit]bool) {
	suspects = map[*unit]bool{}
	left = units[:0:0]
	for _, u := range units {
		at, ok := c.done.GetIfPresent(u.key())
		switch {
		case !ok:
			if len(u.item.sent) > 0 || u.parts() > 0 {
				suspects[u] = true
			}
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

func (c *Committer) stored(u *unit) {
	c.remember(u, u.item.Event.Receipt.ReceivedAt)
	u.finish(false)
	c.events.Add(1)
	c.duplicates.Add(int64(len(u.repeats)))
}

// found finishes a unit whose record is in the store: it is a duplicate, unless a commit of this very unit made
// the record and its response was lost.
func (c *Committer) found(u *unit, rec store.Doc) {
	if !u.ours(rec) {
		c.duplicate(u)
		return
	}
	u.first = rec.Fields.Bool("first_match")
	c.stored(u)
}
