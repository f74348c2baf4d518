package commit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/usherhq/usher/internal/batch"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// flight is one batch while it is being committed.
type flight struct {
	index map[*Item]int
	errs  []error // one per item
}

func (f *flight) report(u *unit, err error) {
	f.errs[f.index[u.item]] = err
	for _, r := range u.repeats {
		f.errs[f.index[r]] = err
	}
}

// flush commits a batch within one deadline of its own: the callers' contexts may be ending.
func (c *Committer) flush(items []*Item) []error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.opts.Timeout, errTimeout)
	defer cancel()
	f := &flight{make(map[*Item]int, len(items)), make([]error, len(items))}
	for i, it := range items {
		f.index[it] = i
	}
	for left := items; len(left) > 0; {
		units, later := gather(left, func(it *Item, err error) { f.errs[f.index[it]] = err })
		c.run(ctx, f, units)
		left = later
	}
	c.blame(items, f.errs)
	return f.errs
}

// blame notes the tenants whose events made the store refuse a batch of which it took the rest: a batch that failed
// whole says nothing about its tenants.
func (c *Committer) blame(items []*Item, errs []error) {
	var refused []*Item
	whole := true
	for i, err := range errs {
		switch code.Of(err) {
		case code.Invalid, code.TooLarge, code.Internal:
			refused = append(refused, items[i])
		default:
			whole = false
		}
	}
	if !whole && refused != nil {
		c.apart.failed(refused)
	}
}

var errTimeout = errors.New("batch was not committed in time")

// run commits units, halving them where the store refuses the whole, and reports each item's error.
func (c *Committer) run(ctx context.Context, f *flight, units []*unit) {
	left, err := c.guarded(ctx, f, units)
	if err == nil {
		return
	}
	if splits(err, left) && ctx.Err() == nil {
		half := len(left) / 2
		c.run(ctx, f, left[:half])
		if ctx.Err() == nil {
			c.run(ctx, f, left[half:])
			return
		}
		left, err = left[half:], overdue(ctx, err)
	}
	for _, u := range left {
		f.report(u, err)
	}
}

// guarded is try, with a panic turned into a refusal: the batch is then halved until the event that causes it
// stands alone, instead of ending the process each time it is delivered.
func (c *Committer) guarded(ctx context.Context, f *flight, units []*unit) (left []*unit, err error) {
	defer func() {
		if r := recover(); r != nil {
			// What was thrown may hold personal data, so it is not part of the error.
			left, err = units, code.New(code.Invalid, "commit", fmt.Errorf("panic of type %T", r))
		}
	}()
	return c.try(ctx, f, units)
}

// splits reports whether smaller batches may succeed where this one did not.
func splits(err error, units []*unit) bool {
	switch code.Of(err) {
	case code.Invalid, code.TooLarge, code.Internal:
		return len(units) > 1
	case code.Conflict:
		return !oneVisitor(units)
	}
	return false
}

// oneVisitor reports whether the units conflict together or not at all: they write one profile.
func oneVisitor(units []*unit) bool {
	for _, u := range units[min(1, len(units)):] {
		if u.visitor == "" || u.visitor != units[0].visitor {
			return false
		}
	}
	return true
}

// How often an error is tried before the batch itself is suspected: an internal one, and a conflict, which
// comes again and again when another process keeps writing one of the visitors. A visitor alone is tried more
// often, about a second long, and then given back.
const (
	internalTries = 2
	conflictTries = 3
	aloneTries    = 8
)

// tries is what one run of tries at some units knows.
type tries struct {
	units               []*unit // that are left
	suspects            map[*unit]bool
	docs                *documents // nil: read (again)
	before              *documents // what a commit that conflicted relied on
	hot                 bool       // some units turned out to be of hot visitors
	internal, conflicts int
	last                error // that the store gave of its own accord, not because time was up
}

// try commits units until they are stored or known to be, or until an error that trying again at once will
// not mend; it then returns the units that are left. Units that turn out to be duplicates are finished on the
// way, those of hot visitors are sent to travel alone.
func (c *Committer) try(ctx context.Context, f *flight, units []*unit) ([]*unit, error) {
	t := &tries{}
	t.units, t.suspects = c.withoutKnown(units)
	if !c.spread(ctx, t.units) {
		return t.units, overdue(ctx, nil)
	}
	for attempt := 0; ; attempt++ {
		err := c.once(ctx, f, t)
		if ctx.Err() == nil || t.last == nil {
			t.last = err
		}
		switch {
		case err == nil:
			return nil, nil
		case !c.again(t, err) && ctx.Err() == nil:
			return t.units, err
		case !pause(ctx, c.backoff(t.units, attempt)):
			return t.units, overdue(ctx, t.last)
		}
	}
}

// once is one try.
func (c *Committer) once(ctx context.Context, f *flight, t *tries) (err error) {
	if t.docs == nil {
		if t.docs, err = c.read(ctx, t.units, t.suspects); err != nil {
			return err
		}
		if t.before != nil {
			t.hot = c.learn(t.units, t.before, t.docs) || t.hot
			t.before = nil
		}
		if t.units, err = c.settle(ctx, t.units, t.docs); err != nil {
			return err
		}
		if t.hot {
			t.units = sendAlone(f, t.units)
		}
	}
	if len(t.units) == 0 {
		return nil
	}
	if err = c.commit(ctx, t.units, t.docs); err == nil {
		c.calm(t.units)
	}
	return err
}

// again reports whether another try may mend an error, and prepares it: it reads anew and looks for duplicates
// everywhere.
func (c *Committer) again(t *tries, err error) bool {
	switch code.Of(err) {
	case code.Conflict:
		c.conflicts.Add(1)
		if t.conflicts++; t.conflicts >= conflictTries && !oneVisitor(t.units) || t.conflicts >= aloneTries {
			return false
		}
		t.before = t.docs
	case code.Internal:
		if t.internal++; t.internal >= internalTries {
			return false
		}
	case code.Unavailable: // it may have been applied
	default:
		return false
	}
	t.docs, t.suspects = nil, all(t.units)
	return true
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

// backoff is the longest pause after so many attempts. A hot visitor's is short beside what its commits are spread
// over: who has lost comes before who has won.
func (c *Committer) backoff(units []*unit, attempts int) time.Duration {
	if oneVisitor(units) {
		if d := c.apart.spread(units[0].visitor); d > 0 {
			return d / 4
		}
	}
	return min(10*time.Millisecond<<min(attempts, 10), time.Second)
}

// pause waits a random while up to limit; false when the deadline does not allow it.
func pause(ctx context.Context, limit time.Duration) bool {
	t := time.NewTimer(time.Duration(rand.Int64N(int64(limit))))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// spread lets a hot visitor's batch begin after a random while, so that the processes that share it come
// between one another's commits and each of them carries more. False when the deadline does not allow it.
func (c *Committer) spread(ctx context.Context, units []*unit) bool {
	if len(units) == 0 || !oneVisitor(units) {
		return true
	}
	limit := c.apart.spread(units[0].visitor)
	return limit == 0 || pause(ctx, limit)
}

// calm notes that a visitor alone was committed.
func (c *Committer) calm(units []*unit) {
	if oneVisitor(units) {
		c.apart.calmed(units[0].visitor)
	}
}

// learn finds out which visitors and tenants made a commit conflict, from what was read before it and after. A
// unit whose own write may have been applied is no sign of another process. It reports whether a visitor is hot.
func (c *Committer) learn(units []*unit, before, after *documents) (hot bool) {
	var failed []*Item
	seen := map[string]bool{}
	for _, u := range units {
		if len(u.item.sent) > 0 {
			continue
		}
		was, is := before.visitors[u.visitor], after.visitors[u.visitor]
		moved := was.Exists != is.Exists || !time.Time(was.Version).Equal(time.Time(is.Version))
		stored := after.records[u].Exists
		if moved && !stored { // an event delivered to two processes at once does not make a visitor hot
			if !seen[u.visitor] { // once for each visitor, however many events it has
				c.apart.conflicted(u.visitor)
				seen[u.visitor] = true
			}
			u.hot, hot = true, true
		}
		if moved || stored {
			failed = append(failed, u.item)
		}
	}
	if failed != nil && !oneVisitor(units) {
		c.apart.failed(failed)
	}
	return hot
}

// sendAlone puts units of visitors that have just turned out to be hot back into the batcher, where they get a
// commit of their own, unless they are alone already. It returns the others.
func sendAlone(f *flight, units []*unit) []*unit {
	if len(units) == 0 || oneVisitor(units) {
		return units
	}
	left := units[:0:0]
	for _, u := range units {
		if u.hot && !u.item.sentAlone {
			u.item.sentAlone = true
			f.report(u, batch.ErrAgain)
			continue
		}
		left = append(left, u)
	}
	return left
}

// sent notes that a commit's outcome is unknown: should a unit's record be there later, made at that time, it
// is this very commit's.
func sent(units []*unit, at time.Time) {
	for _, u := range units {
		u.item.sent = append(u.item.sent, at)
	}
}

// ours reports whether a unit's record was made by a commit of this unit whose response was lost.
func (u *unit) ours(rec store.Doc) bool {
	made := rec.Fields.Time("processed_at")
	for _, at := range u.item.sent {
		if at.Equal(made) {
			return true
		}
	}
	return false
}
