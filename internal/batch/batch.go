// Package batch gathers items of many callers into batches: Add blocks until the caller's own item is done.
//
// An idle batcher flushes at once, a busy one fills batches while earlier ones are under way. Items that
// share a key are never in two batches at a time. Items of a group travel apart from all others, and neither
// wait for the others nor let them wait.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed is returned by Add after Close.
var ErrClosed = errors.New("batcher is closed")

// ErrAgain is what Flush returns for an item that is to go into another batch. Its Add keeps waiting.
var ErrAgain = errors.New("again in another batch")

// Options configure a [Batcher]. All but Key and Group are required.
type Options[T any] struct {
	MaxItems    int           // most items of a batch
	MaxBytes    int           // most bytes of a batch; a larger item travels alone
	Linger      time.Duration // how long an item may wait for company while another batch is under way
	Concurrency int           // batches under way at a time, those of groups not counted
	Size        func(T) int
	// Key names what must not be in two batches at a time, "" for nothing.
	Key func(T) string
	// Group names the group that an item travels with, "" for the company of all others. Groups take turns, each
	// with one batch at a time. It is asked when an item could go, so its answer may change; it must not block.
	Group func(T) string
	// GroupConcurrency is how many batches of groups may be under way besides the others; required with Group.
	GroupConcurrency int
	// Flush does a batch and returns one error per item, or nil when all is well. It bounds its own time.
	Flush func(items []T) []error
}

// Validate reports every problem at once.
func (o *Options[T]) Validate() error {
	var errs []error
	for what, bad := range map[string]bool{
		"max items: want at least 1":         o.MaxItems < 1,
		"max bytes: want at least 1":         o.MaxBytes < 1,
		"linger: negative":                   o.Linger < 0,
		"concurrency: want at least 1":       o.Concurrency < 1,
		"group concurrency: want at least 1": o.Group != nil && o.GroupConcurrency < 1,
		"size and flush are required":        o.Size == nil || o.Flush == nil,
	} {
		if bad {
			errs = append(errs, errors.New(what))
		}
	}
	return errors.Join(errs...)
}

// Batcher batches items. It is safe for concurrent use.
type Batcher[T any] struct {
	opts Options[T]

	mu      sync.Mutex
	common  lane[T]                // what belongs to no group
	groups  map[string]*lane[T]    // those with something pending or under way
	turns   []*lane[T]             // of groups whose turn is to come
	held    map[string][]*entry[T] // by key: the key is under way
	flights map[string]bool        // keys under way
	running int                    // batches of common under way
	grouped int                    // batches of groups under way
	open    int                    // items that are not done
	timer   *time.Timer            // runs while items linger
	closed  bool
	idle    sync.Cond // signalled when nothing is left
}

type entry[T any] struct {
	item T
	key  string
	size int
	done chan error
}

// New returns a batcher.
func New[T any](o Options[T]) (*Batcher[T], error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("batcher: %w", err)
	}
	if o.Key == nil {
		o.Key = func(T) string { return "" }
	}
	if o.Group == nil {
		o.Group = func(T) string { return "" }
	}
	b := &Batcher[T]{opts: o, groups: map[string]*lane[T]{}, held: map[string][]*entry[T]{}, flights: map[string]bool{}}
	b.idle.L = &b.mu
	return b, nil
}

// Add hands an item over and waits for its batch. It returns the item's own error, [ErrClosed], or the
// context's error, in which case the item may still be done.
func (b *Batcher[T]) Add(ctx context.Context, item T) error {
	e := &entry[T]{item: item, key: b.opts.Key(item), size: b.opts.Size(item), done: make(chan error, 1)}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	b.open++
	b.enqueue(e)
	b.schedule(false)
	b.mu.Unlock()
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close refuses further items and waits until all earlier ones are done, or for ctx.
func (b *Batcher[T]) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.schedule(true)
	b.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.mu.Lock()
		defer b.mu.Unlock()
		for b.open > 0 {
			b.idle.Wait()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close batcher: %w", context.Cause(ctx))
	}
}

// schedule starts batches as far as the rules allow; now means that items have lingered long enough.
func (b *Batcher[T]) schedule(now bool) {
	for len(b.turns) > 0 && b.grouped < b.opts.GroupConcurrency {
		l := b.turns[0]
		b.turns = b.turns[1:]
		if len(l.pending) == 0 { // all of it was held back
			delete(b.groups, l.group)
			continue
		}
		b.grouped++
		go b.flush(l, b.take(l))
	}
	for l := &b.common; len(l.pending) > 0 && b.running < b.opts.Concurrency; {
		full := len(l.pending) >= b.opts.MaxItems || l.bytes >= b.opts.MaxBytes
		if !full && !now && !b.closed && b.running > 0 && b.opts.Linger > 0 {
			if b.timer == nil {
				b.timer = time.AfterFunc(b.opts.Linger, b.lingered)
			}
			return
		}
		b.running++
		go b.flush(l, b.take(l))
	}
}

func (b *Batcher[T]) lingered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = nil
	b.schedule(true)
}

func (b *Batcher[T]) flush(l *lane[T], taken []*entry[T]) {
	items := make([]T, len(taken))
	for i, e := range taken {
		items[i] = e.item
	}
	errs := b.opts.Flush(items)
	var again []*entry[T]
	for i, e := range taken {
		switch {
		case errs == nil:
			e.done <- nil
		case errors.Is(errs[i], ErrAgain):
			again = append(again, e)
		default:
			e.done <- errs[i]
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open -= len(taken) - len(again)
	for _, e := range taken {
		delete(b.flights, e.key)
	}
	for _, e := range again {
		b.enqueue(e)
	}
	for _, e := range taken {
		b.release(e.key)
	}
	b.landed(l)
	b.schedule(false)
	if b.open == 0 {
		b.idle.Broadcast()
	}
}
