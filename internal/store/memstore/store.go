// Package memstore is the document store in memory: Firestore's twin for tests and for running without a cloud.
//
// It keeps Firestore's limits and error codes, and by seed it misbehaves as Firestore may.
package memstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/store"
)

// Options set up a store; the zero value is a well-behaved one.
type Options struct {
	Faults      *fault.Injector  // nil never misbehaves
	Now         func() time.Time // for expire_at; nil is time.Now
	CommitDelay time.Duration    // what a commit takes before it is applied
}

// Store is a [store.Store] in memory. Fields handed to Commit belong to the store from then on: nobody may
// change them. Without faults nothing expires.
type Store struct {
	faults *fault.Injector
	now    func() time.Time
	delay  time.Duration

	mu          sync.RWMutex
	collections map[store.Path]*collection
	version     int64
	late        []lateCommit
	postponed   int
	closed      bool

	commits, conflicts, writes, reads atomic.Int64
}

var _ store.Store = (*Store)(nil)

// collection holds documents by id.
type collection struct {
	docs map[string]*document
	ids  []string // in order; nil when an id came or went
}

// document is one state of a document and never changes.
type document struct {
	fields  store.Fields
	version int64
	size    int // at most; 0 is unknown
}

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{faults: o.Faults, now: o.Now, delay: o.CommitDelay, collections: map[store.Path]*collection{}}
}

// Stats counts what a store was asked to do.
type Stats struct {
	Commits   int64 // applied
	Conflicts int64 // commits refused by a precondition or the fault of that name
	Writes    int64 // of applied commits
	Reads     int64 // documents read, missing ones included
}

// Stats returns the counts since the start.
func (s *Store) Stats() Stats {
	return Stats{s.commits.Load(), s.conflicts.Load(), s.writes.Load(), s.reads.Load()}
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, writes []store.Write) error {
	if _, err := store.CheckCommit(writes); err != nil {
		return err
	}
	if err := s.wait(ctx); err != nil {
		return err
	}
	if len(writes) == 0 {
		return nil
	}
	ready := prepare(writes)
	if s.faults.Strike(fault.Aborted) {
		s.conflicts.Add(1)
		return code.New(code.Conflict, "commit", errors.New("aborted"))
	}
	if s.faults.Strike(fault.LateApply) {
		return s.postpone(ready)
	}
	lost := s.faults.Strike(fault.LostResponse)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed("commit")
	}
	s.tick()
	for i := range ready {
		s.expire(ready[i].Path)
	}
	err := s.apply(ready)
	if lost {
		return code.New(code.Unavailable, "commit", errors.New("response lost"))
	}
	return err
}

// wait takes the time of a commit.
func (s *Store) wait(ctx context.Context) error {
	if s.delay > 0 && ctx.Err() == nil {
		t := time.NewTimer(s.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ended(ctx, "commit")
}

// ended returns the error of a context as a Firestore client gives it.
func ended(ctx context.Context, op string) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return code.New(code.Canceled, op, err)
	default:
		return code.New(code.Unavailable, op, err)
	}
}

func errClosed(op string) error { return code.New(code.Unavailable, op, errors.New("store is closed")) }

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	if err := store.CheckGet(paths); err != nil {
		return nil, err
	}
	if err := ended(ctx, "get"); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, nil
	}
	s.reads.Add(int64(len(paths)))
	if s.faults != nil {
		s.misbehave(paths)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, errClosed("get")
	}
	docs := make([]store.Doc, len(paths))
	for i, p := range paths {
		docs[i] = s.get(p).doc(p)
	}
	return docs, nil
}

// Close applies what is still to be applied late; the store answers code.Unavailable from then on.
func (s *Store) Close() error {
	s.Settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *Store) get(p store.Path) *document {
	if c := s.collections[p.Parent()]; c != nil {
		return c.docs[p.ID()]
	}
	return nil
}

// put stores a document, or removes it when d is nil, and returns what was there.
func (s *Store) put(p store.Path, d *document) (old *document) {
	c := s.collections[p.Parent()]
	if c == nil {
		if d == nil {
			return nil
		}
		c = &collection{docs: map[string]*document{}}
		s.collections[p.Parent()] = c
	}
	id := p.ID()
	old = c.docs[id]
	if (old == nil) != (d == nil) {
		c.ids = nil
	}
	if d == nil {
		delete(c.docs, id)
	} else {
		c.docs[id] = d
	}
	return old
}

func (d *document) doc(p store.Path) store.Doc {
	if d == nil {
		return store.Doc{Path: p}
	}
	return store.Doc{Path: p, Exists: true, Fields: d.fields, Version: d.is()}
}

// is returns the document's version; it only looks like a time.
func (d *document) is() store.Version { return store.Version(time.UnixMicro(d.version).UTC()) }
