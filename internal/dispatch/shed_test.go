package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/tenant"
)

// laneTopic is an overflow topic.
type laneTopic struct {
	letters
	tried int
	hang  bool // until the context ends
	do    func()
}

func (p *laneTopic) Publish(ctx context.Context, m *queue.Message) (string, error) {
	p.mu.Lock()
	p.tried++
	p.mu.Unlock()
	if p.do != nil {
		p.do()
	}
	if p.hang {
		<-ctx.Done()
		return "", code.New(code.Unavailable, "publish", context.Cause(ctx))
	}
	return p.letters.Publish(ctx, m)
}

// flooded is a dispatcher whose main lane has room for 8 messages. Those of t1 are held until release is closed.
type flooded struct {
	*bench
	topics  [dispatch.OverflowLanes]*laneTopic
	release chan struct{}
	handling
}

func flood(t *testing.T, change ...func(*dispatch.Options)) *flooded {
	t.Helper()
	f := &flooded{release: make(chan struct{})}
	f.bench = setup(t, nil, append([]func(*dispatch.Options){func(o *dispatch.Options) {
		o.MaxMessages, o.MaxBytes = 8, 1<<20
		for i := range f.topics {
			f.topics[i] = &laneTopic{}
			o.Overflow = append(o.Overflow, f.topics[i])
		}
		next := o.Committer
		o.Committer = committerFunc(func(ctx context.Context, it *commit.Item) error {
			if it.Tenant.ID == "t1" {
				<-f.release
			}
			return next.Add(ctx, it)
		})
	}}, change...)...)
	f.tenants.known["quiet"] = &tenant.Tenant{ID: "quiet", Status: tenant.Active}
	for n := range dispatch.OverflowLanes {
		f.OpenOverflow(n, true)
	}
	return f
}

// of starts handling n messages of a tenant, from number first on.
func (f *flooded) of(t *testing.T, id visitor.TenantID, first, n int, change ...func(*queue.Message)) {
	t.Helper()
	for i := range n {
		m := message(t, event(visitor.EventID(fmt.Sprint("evt_", first+i)), id, fmt.Sprint("ada", first+i)))
		m.ID, m.Attempt = fmt.Sprint("m", first+i), 2
		for _, c := range change {
			c(m)
		}
		f.wg.Go(func() { f.done[f.Handle(t.Context(), m)].Add(1) })
		synctest.Wait() // so that they come in order
	}
}

// lane is the overflow topic of t1.
func (f *flooded) lane() *laneTopic { return f.topics[dispatch.OverflowLane("t1")] }

// end lets everything be processed and checks how it ended.
func (f *flooded) end(t *testing.T, stored, shed int64) {
	t.Helper()
	close(f.release)
	f.wg.Wait()
	f.check(t, stored+shed, 0)
	if got := f.Stats(); got["stored"] != stored || got["shed"] != shed {
		t.Errorf("stats %v, want %d stored and %d shed", got, stored, shed)
	}
	if f.Oldest() != 0 {
		t.Errorf("the oldest unfinished message is %v old, want none", f.Oldest())
	}
}

func TestFlooderIsShed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flood(t)
		f.of(t, "t1", 0, 5)
		if n := f.lane().tried; n != 0 {
			t.Fatalf("%d messages are shed before the window is full", n)
		}
		f.of(t, "t1", 5, 3)
		f.of(t, "quiet", 8, 1)
		f.check(t, 4, 0) // acked are the three that were shed, and the quiet tenant's
		if n := len(f.lane().sent); n != 3 {
			t.Fatalf("%d messages are shed, want 3", n)
		}
		want := map[string]string{
			"usher_shed_reason": "messages", "usher_original_id": "m5", "usher_original_attempts": "2",
			"usher_original_publish_time": now.Format(time.RFC3339Nano),
		}
		m := message(t, event("evt_5", "t1", "ada5"))
		maps.Copy(want, m.Attributes)
		if diff := cmp.Diff(want, f.lane().sent[0].Attributes); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
		if string(f.lane().sent[0].Data) != string(m.Data) {
			t.Error("the data is not that of the message")
		}
		f.end(t, 6, 3)
		var lines int
		for _, l := range f.logs.lines(t) {
			if l["outcome"] == "shed" {
				lines++
				if l["level"] != "INFO" || l["tenant_id"] != "t1" || l["lane"] != fmt.Sprint("overflow-", dispatch.OverflowLane("t1")) {
					t.Errorf("line %v", l)
				}
			}
		}
		if lines != 3 || len(f.letters.sent) != 0 {
			t.Errorf("%d lines of 3 shed messages, %d dead letters", lines, len(f.letters.sent))
		}
	})
}

// TestShedInBytes: few large messages fill the window too.
func TestShedInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		size := len(message(t, event("evt_0", "t1", "ada0")).Data)
		f := flood(t, func(o *dispatch.Options) { o.MaxMessages, o.MaxBytes = 1000, 4*size })
		f.of(t, "t1", 0, 4)
		f.of(t, "quiet", 4, 1, func(m *queue.Message) { delete(m.Attributes, envelope.AttrTenant) })
		if sent := f.lane().sent; len(sent) != 2 || sent[0].Attributes["usher_shed_reason"] != "bytes" {
			t.Errorf("%d messages are shed, want 2 for bytes", len(sent))
		}
		f.end(t, 3, 2)
	})
}

// TestNotShed: what may not be shed, or cannot be, is processed in place.
func TestNotShed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		setup  func(*flooded)
		change func(*queue.Message)
		tried  int // publishes
		warns  int
		took   time.Duration
	}{
		{name: "the lane is not open", setup: func(f *flooded) { f.OpenOverflow(dispatch.OverflowLane("t1"), false) }},
		{name: "it was shed before", change: func(m *queue.Message) { *m = *envelope.Shed(m, "messages") }},
		{name: "the topic refuses", setup: func(f *flooded) { f.lane().err = code.New(code.NotFound, "publish", nil) }, tried: 1, warns: 1},
		{name: "the topic hangs", setup: func(f *flooded) { f.lane().hang = true }, tried: 3, warns: 1, took: time.Second},
		{name: "a full house of attributes", change: func(m *queue.Message) {
			for i := range queue.MaxAttributes {
				m.Attributes[fmt.Sprint("own_", i)] = ""
			}
		}, setup: func(f *flooded) { f.lane().err = code.New(code.Invalid, "publish", nil) }, tried: 3}, // the lane is not to blame: no pause
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := flood(t)
				if tt.setup != nil {
					tt.setup(f)
				}
				start := time.Now()
				if tt.change == nil {
					tt.change = func(*queue.Message) {}
				}
				f.of(t, "t1", 0, 8, tt.change)
				if n := f.lane().tried; n != tt.tried {
					t.Errorf("%d publishes, want %d", n, tt.tried)
				}
				time.Sleep(tt.took)
				f.end(t, 8, 0)
				if took := time.Since(start); took > tt.took+time.Second {
					t.Errorf("took %v", took)
				}
				if n := strings.Count(f.logs.String(), "messages cannot be shed"); n != tt.warns {
					t.Errorf("%d warnings, want %d:\n%s", n, tt.warns, f.logs)
				}
			})
		})
	}
}

// TestShedAgainAfterAPause: a topic that refused is asked again later, and what it refused counts to its tenant.
func TestShedAgainAfterAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flood(t)
		f.lane().err = errors.New("refused")
		f.of(t, "t1", 0, 7)
		f.lane().err = nil
		f.of(t, "t1", 7, 1)
		if f.lane().tried != 1 {
			t.Errorf("%d publishes within the pause, want one", f.lane().tried)
		}
		time.Sleep(6 * time.Second)
		f.of(t, "t1", 8, 2)
		f.end(t, 8, 2)
	})
}

// TestNothingIsShedDuringAnOutage: a window that is full because of it is nobody's fault.
func TestNothingIsShedDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{code: code.Unavailable}
		f := flood(t, o.set)
		o.away.Store(true)
		f.of(t, "t1", 0, 8)
		if f.Ready() || f.lane().tried != 0 {
			t.Errorf("ready %v, %d shed during an outage", f.Ready(), f.lane().tried)
		}
		if f.Oldest() != 0 {
			t.Errorf("oldest %v before any time has passed", f.Oldest())
		}
		time.Sleep(20 * time.Second)
		if f.Oldest() != 20*time.Second {
			t.Errorf("oldest %v, want 20s", f.Oldest())
		}
		o.away.Store(false)
		f.end(t, 8, 0)
	})
}

// TestShedEndsWithReceiving: a publish that is under way does not keep a process from ending.
func TestShedEndsWithReceiving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, func(o *dispatch.Options) { o.PublishTimeout = time.Hour })
		f.of(t, "t1", 0, 5)
		f.lane().hang = true
		ctx, cancel := context.WithCancel(t.Context())
		m := message(t, event("evt_5", "t1", "ada5"))
		f.wg.Go(func() { f.done[f.Handle(ctx, m)].Add(1) })
		synctest.Wait()
		cancel()
		f.end(t, 6, 0)
		if strings.Contains(f.logs.String(), "cannot be shed") {
			t.Error("a warning about the end")
		}
	})
}

// TestPanicWhileSheddingIsParked and leaves nothing counted.
func TestPanicWhileSheddingIsParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flood(t)
		f.lane().do = func() { panic("boom") }
		f.of(t, "t1", 0, 6)
		close(f.release)
		f.wg.Wait()
		if f.letters.one(t).Reason != envelope.ReasonPanic || f.Oldest() != 0 {
			t.Errorf("stats %v, oldest %v", f.Stats(), f.Oldest())
		}
	})
}

// TestOverflowMessagesAreTheirOriginals: id, age and attempts of a message that was shed count from the beginning, and
// its dead letter says nothing of the shedding, or it could never be shed after a redrive.
func TestOverflowMessagesAreTheirOriginals(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	was := message(t, event("evt_a", "t9", "ada"))
	was.PublishTime = now.Add(-grace)
	m := envelope.Shed(was, "messages")
	m.ID, m.PublishTime, m.Attempt = "m2", now, 3
	if d := b.Overflow(1)(t.Context(), m); d != queue.Ack {
		t.Fatalf("disposition %v, want an unknown tenant to be believed for the age of the original", d)
	}
	dl := b.letters.one(t)
	want := &envelope.ParkedMessage{
		ID: "m1", PublishTime: was.PublishTime, Attempts: 4, Attributes: was.Attributes, Data: dl.Message.Data,
	}
	if diff := cmp.Diff(want, dl.Message); diff != "" || dl.Reason != envelope.ReasonUnknownTenant {
		t.Errorf("dead letter %s (-want +got):\n%s", dl.Reason, diff)
	}
	if l := b.logs.lines(t)[0]; l["message_id"] != "m1" || l["delivery_attempt"] != 4.0 || l["lane"] != "overflow-1" {
		t.Errorf("line %v", l)
	}
}

// TestOverflowIsNeverShed although its lane is as full as can be.
func TestOverflowIsNeverShed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flood(t)
		h := f.Overflow(dispatch.OverflowLane("t1"))
		for i := range 20 {
			m := message(t, event(visitor.EventID(fmt.Sprint("evt_", i)), "t1", fmt.Sprint("ada", i)))
			f.wg.Go(func() { f.done[h(t.Context(), m)].Add(1) })
		}
		synctest.Wait()
		f.end(t, 20, 0)
	})
}

func TestOverflowOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]dispatch.Options{
		"too few topics": {Overflow: make([]queue.Publisher, 3), MaxMessages: 1, MaxBytes: 1},
		"no messages":    {Overflow: make([]queue.Publisher, 4), MaxBytes: 1},
		"no bytes":       {Overflow: make([]queue.Publisher, 4), MaxMessages: 1},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "overflow: want 4 topics") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
