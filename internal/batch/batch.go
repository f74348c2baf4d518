// Package batch gathers items of many callers into batches: Add blocks until the caller's own item is done.
//
// An idle batcher flushes at once, a busy one fills batches while earlier ones are under way. Items that
// share a key are never in two batches at a time.
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

// Options configure a [Batcher]. All but Key are required.
type Options[T any] struct {
	MaxItems    int           // most items of a batch
	MaxBytes    int           // most bytes of a batch; a larger item travels alone
	Linger      time.Duration // how long an item may wait for company while another batch is under way
	Concurrency int           // batches under way at a time
	Size        func(T) int
	// Key names what must not be in two batches at a time, "" for nothing.
	Key func(T) string
	// Flush does a batch and returns one error per item, or nil when all is well. It bounds its own time.
	Flush func(items []T) []error
}

// Validate reports every problem at once.
func (o *Options[T]) Validate() error {
	var errs []error
	for what, bad := range map[string]bool{
		"max items: want at least 1":   o.MaxItems < 1,
		"max bytes: want at least 1":   o.MaxBytes < 1,
		"linger: negative":             o.Linger < 0,
		"concurrency: want at least 1": o.Concurrency < 1,
		"size and flush are required":  o.Size == nil || o.Flush == nil,
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
	pending []*entry[T]            // ready to go, oldest first
	bytes   int                    // of pending
	held    map[string][]*entry[T] // by key: the key is under way
	flights map[string]bool        // keys under way
	running int                    // batches under way
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
	b := &Batcher[T]{opts: o, held: map[string][]*entry[T]{}, flights: map[string]bool{}}
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
		for b.running > 0 || len(b.pending) > 0 {
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

// enqueue makes an entry pending, or holds it while its key is under way.
func (b *Batcher[T]) enqueue(e *entry[T]) {
	if e.key != "" && b.flights[e.key] {
		b.held[e.key] = append(b.held[e.key], e)
		return
	}
	b.pending = append(b.pending, e)
	b.bytes += e.size
}

// schedule starts batches as far as the rules allow; now means that items have lingered long enough.
func (b *Batcher[T]) schedule(now bool) {
	for len(b.pending) > 0 && b.running < b.opts.Concurrency {
		full := len(b.pending) >= b.opts.MaxItems || b.bytes >= b.opts.MaxBytes
		if !full && !now && !b.closed && b.running > 0 && b.opts.Linger > 0 {
			if b.timer == nil {
				b.timer = time.AfterFunc(b.opts.Linger, b.lingered)
			}
			return
		}
		b.running++
		go b.flush(b.take())
	}
}

func (b *Batcher[T]) lingered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = nil
	b.schedule(true)
}

// take forms the next batch from the oldest pending entries.
func (b *Batcher[T]) take() []*entry[T] {
	n, bytes := 0, 0
	for n < len(b.pending) && n < b.opts.MaxItems && (n == 0 || bytes+b.pending[n].size <= b.opts.MaxBytes) {
		bytes += b.pending[n].size
		n++
	}
	taken := make([]*entry[T], n)
	copy(taken, b.pending)
	rest := b.pending[n:]
	if len(rest) == 0 {
		rest = nil // lets the array go
	}
	b.pending, b.bytes = rest, b.bytes-bytes
	for _, e := range taken {
		if e.key != "" {
			b.flights[e.key] = true
		}
	}
	b.holdBack()
	return taken
}

// holdBack moves pending entries whose key has just taken off out of the way.
func (b *Batcher[T]) holdBack() {
	kept := b.pending[:0]
	for _, e := range b.pending {
		if e.key != "" && b.flights[e.key] {
			b.held[e.key] = append(b.held[e.key], e)
			b.bytes -= e.size
			continue
		}
		kept = append(kept, e)
	}
	clear(b.pending[len(kept):])
	b.pending = kept
}

func (b *Batcher[T]) flush(taken []*entry[T]) {
	items := make([]T, len(taken))
	for i, e := range taken {
		items[i] = e.item
	}
	errs := b.opts.Flush(items)
	for i, e := range taken {
		if errs != nil {
			e.done <- errs[i]
		} else {
			e.done <- nil
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	for _, e := range taken {
		if e.key == "" || !b.flights[e.key] {
			continue
		}
		delete(b.flights, e.key)
		for _, h := range b.held[e.key] {
			b.pending = append(b.pending, h)
			b.bytes += h.size
		}
		delete(b.held, e.key)
	}
	b.schedule(false)
	if b.running == 0 && len(b.pending) == 0 {
		b.idle.Broadcast()
	}
}
