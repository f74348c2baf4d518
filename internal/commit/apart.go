package commit

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
)

// What travels apart does so for a while. Each such visitor or tenant costs commits of its own, so there are
// few: more conflicts than that are not a matter of some hot visitors.
const (
	apartFor    = time.Minute
	maxHot      = 32
	maxFailing  = 32
	firstSpread = 40 * time.Millisecond
	maxSpread   = 12 // quarters of a doubling: 320 ms
)

// apart remembers for a minute what travels apart from the rest: visitors that another process writes too, and
// tenants whose writes made two batches fail. The zero value is ready for use.
type apart struct {
	known    atomic.Int32 // visitors and tenants, so that none costs no lock
	mu       sync.Mutex
	visitors map[string]hotVisitor // by visitorKey
	tenants  map[visitor.TenantID]failing
}

type hotVisitor struct {
	last  time.Time // conflict
	level int       // 4 for each conflict less 1 for each commit: how far commits are spread
}

type failing struct {
	last  time.Time // failure
	until time.Time // when it travels with the others again; zero before its second failure
}

// group is whom an item travels with: others of its visitor or tenant alone, or ("") everybody.
func (a *apart) group(it *Item) string {
	if a.known.Load() == 0 {
		return ""
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.visitors[it.visitor]; ok && now.Sub(v.last) < apartFor {
		return it.visitor
	}
	if t, ok := a.tenants[it.Event.TenantID]; ok && now.Before(t.until) {
		return string(it.Event.TenantID)
	}
	return ""
}

// conflicted notes that another process wrote a visitor between this one's read and its commit.
func (a *apart) conflicted(visitor string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.visitors[visitor]
	if now.Sub(v.last) >= apartFor {
		v.level = 0
	}
	v.last, v.level = now, min(v.level+4, maxSpread)
	if a.visitors == nil {
		a.visitors = map[string]hotVisitor{}
	}
	a.visitors[visitor] = v
	forget(a.visitors, maxHot, now, func(v hotVisitor) time.Time { return v.last })
	a.count()
}

// calmed notes that a visitor was committed.
func (a *apart) calmed(visitor string) {
	if a.known.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.visitors[visitor]; ok && v.level > 0 {
		v.level--
		a.visitors[visitor] = v
	}
}

// spread is how long a hot visitor's commit may wait before it begins, 0 for others. It falls slowly, so that the
// process that has just won does not shut the others out.
func (a *apart) spread(visitor string) time.Duration {
	if a.known.Load() == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.visitors[visitor]
	if !ok || time.Since(v.last) >= apartFor {
		return 0
	}
	return firstSpread << (v.level / 4)
}

// failed notes that the tenants of these items made a batch fail, once for each.
func (a *apart) failed(items []*Item) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tenants == nil {
		a.tenants = map[visitor.TenantID]failing{}
	}
	for i, it := range items {
		id := it.Event.TenantID
		if i > 0 && id == items[i-1].Event.TenantID {
			continue
		}
		t, ok := a.tenants[id]
		switch {
		case ok && t.last.Equal(now): // of the same batch
		case ok && now.Sub(t.last) < apartFor:
			t.until = now.Add(apartFor)
		}
		t.last = now
		a.tenants[id] = t
	}
	forget(a.tenants, maxFailing, now, func(t failing) time.Time { return t.last })
	a.count()
}

func (a *apart) count() { a.known.Store(int32(len(a.visitors) + len(a.tenants))) }

// forget drops what is over, and the oldest of what is too many.
func forget[K comparable, V any](m map[K]V, limit int, now time.Time, last func(V) time.Time) {
	for k, v := range m {
		if now.Sub(last(v)) >= apartFor {
			delete(m, k)
		}
	}
	for len(m) > limit {
		var oldest K
		at := now.Add(time.Hour)
		for k, v := range m {
			if t := last(v); t.Before(at) {
				oldest, at = k, t
			}
		}
		delete(m, oldest)
	}
}
