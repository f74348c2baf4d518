package memstore

import (
	"errors"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/store"
)

// lateCommit is applied after some more operations.
type lateCommit struct {
	writes []store.Write
	wait   int
}

// postpone keeps a commit for later; the caller cannot know.
func (s *Store) postpone(writes []store.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed("commit")
	}
	s.postponed++
	s.late = append(s.late, lateCommit{writes, 1 + s.postponed%7})
	return code.New(code.Unavailable, "commit", errors.New("deadline exceeded"))
}

// tick is called under the lock by each operation and applies the late commits that are due. Like any other
// they may fail by now; nobody hears of it.
func (s *Store) tick() {
	if len(s.late) == 0 {
		return
	}
	var due []lateCommit
	rest := s.late[:0]
	for _, l := range s.late {
		if l.wait--; l.wait <= 0 {
			due = append(due, l)
		} else {
			rest = append(rest, l)
		}
	}
	s.late = rest
	for _, l := range due {
		_ = s.apply(l.writes)
	}
}

// Settle applies at once what is still to be applied late, for looking at the end of a test.
func (s *Store) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.late {
		_ = s.apply(l.writes)
	}
	s.late = nil
}

// misbehave does to documents what may happen before they are read.
func (s *Store) misbehave(paths []store.Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	for _, p := range paths {
		s.expire(p)
	}
}

// expire removes a document whose time is over, when the fault strikes.
func (s *Store) expire(p store.Path) {
	if !s.faults.Plans(fault.Expired) {
		return
	}
	d := s.get(p)
	if d == nil {
		return
	}
	at, ok := d.fields.Get("expire_at").(time.Time)
	if ok && at.Before(s.now()) && s.faults.Strike(fault.Expired) {
		s.put(p, nil)
	}
}
