package e2e_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
)

// The flood: a committer that makes 400 events a second has 20 s of work ahead when the quiet tenant's burst comes, and
// gets twice of what it can make on top for as long as the test goes on.
const (
	floodAhead    = 8000
	floodEvery    = 50 * time.Millisecond
	floodMessages = 40 // every floodEvery
	burst         = 100
	floodDelay    = 100 * time.Millisecond // of a commit
	floodBatch    = 20
	committers    = 2

	fair = 10 * time.Second // within which the burst is to be stored
)

// floodTime is how long the flood goes on at least: USHER_FLOOD, or until the burst is stored.
func floodTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("USHER_FLOOD")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("USHER_FLOOD: %v", err)
	}
	return d
}

// slowStore takes its time for a commit.
type slowStore struct {
	store.Store
	delay atomic.Int64
}

func (s *slowStore) Commit(ctx context.Context, writes []store.Write) error {
	timer := time.NewTimer(time.Duration(s.delay.Load()))
	defer timer.Stop()
	<-timer.C
	return s.Store.Commit(ctx, writes)
}

// flood publishes events of one tenant.
type flood struct {
	*system
	tenant visitor.TenantID
	sent   atomic.Int64
}

func (f *flood) publish(t *testing.T, n int) {
	t.Helper()
	p := f.backend.Queue.Publisher(f.cfg.PubSub.Topic)
	for range n {
		now, key := time.Now().UTC(), fmt.Sprint(f.sent.Add(1))
		m, err := envelope.Encode(&visitor.Event{
			Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: f.tenant, Source: "leadpipe",
			ID:     visitor.NewEventID("leadpipe", f.tenant, key, 0),
			Origin: visitor.OriginWebhook, IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
			Person: visitor.Person{Emails: []visitor.Email{{Address: "visitor-" + key + "@example.com"}}},
		}, []byte(`{}`))
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := p.Publish(context.Background(), m); err != nil {
			t.Error(err)
			return
		}
	}
}

// goOn floods until the returned function is called or the test ends.
func (f *flood) goOn(t *testing.T) (end func()) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(floodEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.publish(t, floodMessages)
			case <-stop:
				return
			}
		}
	}()
	end = sync.OnceFunc(func() { close(stop); <-stopped })
	t.Cleanup(end)
	return end
}

// TestFloodDoesNotDelayOthers: while a tenant floods, another one's burst of a second is stored within 10 s, although
// 20 s of the flood came before it; and nothing that was shed on the way is lost or counted twice.
func TestFloodDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	slow := &slowStore{Store: memstore.New(memstore.Options{})}
	s := start(t, func(t *testing.T, cfg *config.Config) (*app.Backend, *fault.Injector) {
		t.Helper()
		cfg.Consumer.BatchEvents, cfg.Consumer.Committers = floodBatch, committers
		cfg.Log.SuccessSample = 0.01
		return &app.Backend{Store: slow, Queue: memqueue.New(memqueue.Options{})}, nil
	})
	a, b := &flood{system: s, tenant: "flooder"}, &flood{system: s, tenant: "quiet"}
	s.createTenants(t, []simulate.Tenant{{ID: a.tenant}, {ID: b.tenant}})
	slow.delay.Store(int64(floodDelay))
	began := time.Now()
	a.publish(t, floodAhead)
	flooding := a.goOn(t)
	for round := 1; round == 1 || time.Since(began) < floodTime(t); round++ {
		second := time.NewTicker(time.Second / burst)
		for range burst {
			<-second.C
			b.publish(t, 1)
		}
		second.Stop()
		published := time.Now()
		testkit.Eventually(t, fair, func(context.Context) bool {
			return len(s.identifications(t, b.tenant)) == round*burst
		}, "the quiet tenant's burst is stored while another one floods")
		ended, _ := s.daemon.Stats()
		behind := a.sent.Load() - ended["stored"] + int64(round*burst)
		t.Logf("burst %d stored %v after its last event; %d of the flood are shed so far, %d unfinished",
			round, time.Since(published).Round(time.Millisecond), ended["shed"], behind)
		if ended["shed"] == 0 || behind < floodAhead/2 {
			t.Errorf("%d are shed and %d of the flood unfinished: there was no flood to suffer from", ended["shed"], behind)
		}
	}
	flooding()
	slow.delay.Store(0)
	s.drained(t, 0)
	s.stop()
	for _, f := range []*flood{a, b} {
		n := int(f.sent.Load())
		docs, u := len(s.identifications(t, f.tenant)), s.usage(t, f.tenant, began.UTC())
		if docs != n || u.Events != int64(n) {
			t.Errorf("%s: %d events are stored and %d counted, want %d", f.tenant, docs, u.Events, n)
		}
	}
	if ended, _ := s.daemon.Stats(); ended["parked"]+ended["nacked"]+ended["duplicate"] != 0 {
		t.Errorf("outcomes %v", ended)
	}
}
