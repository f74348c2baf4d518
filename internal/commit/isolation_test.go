package commit_test

import (
	"strings"
	"testing"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store"
)

// touches reports whether a commit writes a document whose path contains s.
func touches(w []store.Write, s string) bool {
	for i := range w {
		if strings.Contains(string(w[i].Path), s) {
			return true
		}
	}
	return false
}

// TestHotVisitorIsAlone: a visitor that another process keeps winning is given back; the rest of its batch,
// other tenants' events among it, is stored.
func TestHotVisitorIsAlone(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		hot := event("evt_hot", "t2", "hot", noon)
		s.before = func(_ int, w []store.Write) error {
			if touches(w, string(hot.VisitorID)) {
				return code.New(code.Conflict, "commit", nil)
			}
			return nil
		}
		events, items := neighbours(49)
		errs := together(t, c, append(items, item(hot))...)
		noErrors(t, errs[:49])
		if code.Of(errs[49]) != code.Conflict {
			t.Errorf("hot visitor: %v, want a conflict", errs[49])
		}
		checkExact(t, s, "t1", events)
		s.before = nil
		add(t, c, item(hot))
		checkExact(t, s, "t2", map[visitor.EventID]*visitor.Event{hot.ID: hot})
	})
}

// TestPanicIsAlone: an event that makes a commit panic is refused by itself; the process and its neighbours
// live on.
func TestPanicIsAlone(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		bad := event("evt_bad", "t2", "bad", noon)
		s.before = func(_ int, w []store.Write) error {
			if touches(w, "evt_bad") {
				panic("secret-person@example.com")
			}
			return nil
		}
		events, items := neighbours(49)
		errs := together(t, c, append(items, item(bad))...)
		noErrors(t, errs[:49])
		if code.Of(errs[49]) != code.Invalid || strings.Contains(errs[49].Error(), "secret") {
			t.Errorf("bad event: %v, want a refusal without what was thrown", errs[49])
		}
		checkExact(t, s, "t1", events)
	})
}
