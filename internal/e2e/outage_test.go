package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
)

// outage is a system that is up or down.
type outage struct {
	mu   sync.Mutex
	down context.Context // ends when the system goes down; nil while it is down
	end  context.CancelFunc
}

func (o *outage) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		o.end()
	}
	o.down, o.end = nil, nil
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down, o.end = context.WithCancel(context.Background())
}

// up returns a context that lasts until the next outage, or an error during one.
func (o *outage) up() (context.Context, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil {
		return nil, code.New(code.Unavailable, "call", errors.New("away"))
	}
	return o.down, nil
}

// awayStore answers nothing during an outage.
type awayStore struct {
	store.Store
	*outage
}

func (s awayStore) Get(ctx context.Context, p []store.Path) ([]store.Doc, error) {
	if _, err := s.up(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, p)
}

func (s awayStore) Commit(ctx context.Context, w []store.Write) error {
	if _, err := s.up(); err != nil {
		return err
	}
	return s.Store.Commit(ctx, w)
}

// awayQueue ends every Receive with an error during an outage.
type awayQueue struct {
	queue.Queue
	*outage
}

func (q awayQueue) Subscriber(name string, fc queue.FlowControl) queue.Subscriber {
	return awaySubscriber{q.Queue.Subscriber(name, fc), q.outage}
}

type awaySubscriber struct {
	queue.Subscriber
	*outage
}

func (s awaySubscriber) Receive(ctx context.Context, h queue.Handler) error {
	up, err := s.up()
	if err != nil {
		return err
	}
	until, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(up, cancel)()
	if err := s.Subscriber.Receive(until, h); err != nil || ctx.Err() != nil {
		return err
	}
	return code.New(code.Unavailable, "receive", errors.New("stream broke"))
}

// faulty is a system on well-behaved twins whose store and queue can go away.
type faulty struct {
	*system
	twin         *memqueue.Queue
	store, queue *outage
}

// policy is when the twin gives a message up.
type policy struct {
	attempts int
	backoff  time.Duration // always the same
	hold     time.Duration // pubsub.max_hold
}

// lasts is how long a message survives that is held for as long as may be and nacked, again and again.
func (p policy) lasts() time.Duration {
	return time.Duration(p.attempts)*p.hold + time.Duration(p.attempts-1)*p.backoff
}

func startFaulty(t *testing.T, p policy) *faulty {
	t.Helper()
	f := &faulty{twin: memqueue.New(memqueue.Options{}), store: &outage{}, queue: &outage{}}
	f.store.over()
	f.queue.over()
	t.Cleanup(f.store.begin) // releases the contexts
	t.Cleanup(f.queue.begin)
	f.system = start(t, func(t *testing.T, cfg *config.Config) (*app.Backend, *fault.Injector) {
		t.Helper()
		cfg.PubSub.MaxHold = p.hold
		top := app.Topology(cfg)
		for i := range top.Subscriptions {
			s := &top.Subscriptions[i]
			s.MinBackoff, s.MaxBackoff = p.backoff, p.backoff
			if s.DeadLetterTopic != "" {
				s.MaxAttempts = p.attempts
			}
		}
		if err := f.twin.Create(t.Context(), top); err != nil {
			t.Fatal(err)
		}
		return &app.Backend{
			Store: awayStore{memstore.New(memstore.Options{}), f.store}, Queue: awayQueue{f.twin, f.queue},
		}, nil
	})
	f.createTenants(t, []simulate.Tenant{{ID: "acme"}})
	f.started(t)
	return f
}

// started waits until the daemon receives: before that it waits for systems that are away.
func (s *system) started(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func(context.Context) bool {
		return strings.Contains(s.logs.String(), "daemon started")
	}, "the daemon has started")
}

// publish publishes n events of acme, numbered from a first.
func (f *faulty) publish(t *testing.T, first, n int) {
	t.Helper()
	now := time.Now().UTC()
	for i := first; i < first+n; i++ {
		m, err := envelope.Encode(&visitor.Event{
			Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: "acme", Source: "leadpipe",
			ID: visitor.NewEventID("leadpipe", "acme", "key", i), Origin: visitor.OriginWebhook,
			IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
			Person: visitor.Person{Emails: []visitor.Email{{Address: fmt.Sprintf("ada%d@example.com", i%50)}}},
		}, []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.twin.Publisher(f.cfg.PubSub.Topic).Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// within30s is how soon after a recovery work is to go on.
const within30s = 30 * time.Second

// resumes waits until n events are stored.
func (f *faulty) resumes(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, within30s, func(context.Context) bool {
		stored, _, _ := f.ended()
		return stored >= n
	}, "work goes on after the recovery")
}

// checkOnce holds that n events are stored and counted once and that nothing was parked or given up.
func (f *faulty) checkOnce(t *testing.T, n int, began time.Time) {
	t.Helper()
	for _, lane := range f.lanes() {
		if err := f.twin.WaitIdle(t.Context(), lane); err != nil {
			t.Fatal(err)
		}
	}
	docs, u := f.identifications(t, "acme"), f.usage(t, "acme", began)
	if len(docs) != n || u.Events != int64(n) || u.Identifications != 50 {
		t.Errorf("%d identifications, usage %+v; want %d events of 50 visitors", len(docs), u.Counts, n)
	}
}

// checkNothingParked: no dead letter, neither usher's nor the queue's.
func (f *faulty) checkNothingParked(t *testing.T) {
	t.Helper()
	letters := f.twin.Stats(f.cfg.PubSub.DeadLetterSubscription)
	_, _, parked := f.ended()
	if parked != 0 || f.given() != 0 || letters.Published != 0 {
		t.Errorf("%d messages were parked, %d given up, %d are dead letters", parked, f.given(), letters.Published)
	}
	if docs := f.documents(t, layout.DeadLetterCollection(), nil); len(docs) != 0 {
		t.Errorf("%d dead letters are stored", len(docs))
	}
}

// given is how many messages the queue gave up.
func (f *faulty) given() (n int64) {
	for _, lane := range f.lanes() {
		n += f.twin.Stats(lane).DeadLettered
	}
	return n
}

// lasting waits while an outage lasts.
func lasting(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// TestOutageParksNothing: an outage several times longer than the attempts with their backoff would last parks nothing,
// and work goes on by itself.
func TestOutageParksNothing(t *testing.T) {
	t.Parallel()
	p := policy{attempts: 5, backoff: 100 * time.Millisecond, hold: 10 * time.Minute}
	outageTime := 8 * time.Duration(p.attempts) * p.backoff
	const each = 500
	for name, away := range map[string]func(*faulty) *outage{
		"store":   func(f *faulty) *outage { return f.store },
		"receive": func(f *faulty) *outage { return f.queue },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t, p)
			began := time.Now().UTC()
			f.publish(t, 0, each)
			testkit.Eventually(t, time.Minute, func(context.Context) bool {
				stored, _, _ := f.ended()
				return stored > 0
			}, "work has begun")
			away(f).begin()
			f.publish(t, each, each)
			lasting(t, outageTime)
			f.publish(t, 2*each, each)
			if stored, _, _ := f.ended(); stored == 3*each {
				t.Fatal("everything is stored: there was no outage")
			}
			away(f).over()
			f.resumes(t, 3*each)
			f.checkOnce(t, 3*each, began)
			f.checkNothingParked(t)
			logs := f.logs.String()
			told := map[string]string{"store": "gate open again", "receive": "receiving ended; it will be started again"}[name]
			if !strings.Contains(logs, told) {
				t.Errorf("the log lacks %q", told)
			}
		})
	}
}

// TestOutageLongerThanMaxHold: messages are nacked then and use their attempts up, slowly: so many times max_hold and the
// backoff between them. Up to there nothing is parked; what is given up later can be put back and takes effect once.
func TestOutageLongerThanMaxHold(t *testing.T) {
	t.Parallel()
	const n = 200
	t.Run("shorter than the attempts last", func(t *testing.T) {
		t.Parallel()
		p := policy{attempts: queue.MaxAttempts, backoff: 50 * time.Millisecond, hold: 100 * time.Millisecond}
		f := startFaulty(t, p)
		began := time.Now().UTC()
		f.store.begin()
		f.publish(t, 0, n)
		testkit.Eventually(t, time.Minute, func(context.Context) bool {
			return f.twin.Stats(f.cfg.PubSub.Subscription).Nacked >= 5*n
		}, "messages are held too long and nacked, again and again")
		f.store.over()
		f.resumes(t, n)
		f.checkOnce(t, n, began)
		f.checkNothingParked(t)
	})
	t.Run("longer", func(t *testing.T) {
		t.Parallel()
		p := policy{attempts: queue.MinAttempts, backoff: 100 * time.Millisecond, hold: 200 * time.Millisecond}
		f := startFaulty(t, p)
		began := time.Now().UTC()
		f.store.begin()
		f.publish(t, 0, n)
		testkit.Eventually(t, time.Minute, func(context.Context) bool {
			return f.given() == n
		}, "messages are given up")
		if lasted := time.Since(began); lasted < p.lasts() {
			t.Errorf("messages were given up after %v, before the %v that the documentation reckons", lasted, p.lasts())
		}
		f.store.over()
		f.redriveAll(t, n)
		f.resumes(t, n)
		f.checkOnce(t, n, began)
	})
}

// redriveAll puts back what is in the dead letters once n are stored.
func (f *faulty) redriveAll(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, within30s, func(context.Context) bool {
		return len(f.documents(t, layout.DeadLetterCollection(), nil)) == n
	}, "what the queue gave up is stored")
	r := f.redrive(t, deadletter.Selection{}, false)
	if r.Redriven != n || r.Refused != 0 {
		t.Errorf("redrive: %+v", r)
	}
}
