package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit"
)

func TestLanesDivideTheLimits(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	main, over := mainFlow(cfg), overflowFlow(cfg)
	if main.MaxMessages != 1000 || main.MaxBytes != 16<<20 || over.MaxMessages != 250 || over.MaxBytes != 4<<20 {
		t.Errorf("main lane %+v, overflow lane %+v", main, over)
	}
	if n := main.MaxMessages + dispatch.OverflowLanes*over.MaxMessages; n != cfg.PubSub.MaxMessages {
		t.Errorf("all lanes hold %d messages, want %d", n, cfg.PubSub.MaxMessages)
	}
	if n := main.MaxBytes + dispatch.OverflowLanes*over.MaxBytes; n != cfg.PubSub.MaxBytes {
		t.Errorf("all lanes hold %d bytes, want %d", n, cfg.PubSub.MaxBytes)
	}
	cfg.PubSub.Streams = 3
	if main = mainFlow(cfg); main.Streams != 3 || main.MaxMessages != 999 {
		t.Errorf("main lane of 3 streams %+v, want what they can hold", main)
	}
	cfg.PubSub.MaxMessages, cfg.PubSub.Streams = 8, 32
	if main, over = mainFlow(cfg), overflowFlow(cfg); main.Streams != 4 || main.MaxMessages != 4 || over.MaxMessages != 1 {
		t.Errorf("the smallest lanes %+v and %+v", main, over)
	}
}

// TestOverflowLanesAreLikeTheMainOne: an outage may not park what was shed either.
func TestOverflowLanesAreLikeTheMainOne(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	top := Topology(cfg)
	var got []string
	for _, s := range top.Subscriptions {
		if !strings.HasPrefix(s.Name, cfg.PubSub.OverflowSubscription) {
			continue
		}
		got = append(got, s.Topic+" > "+s.Name)
		s.Name, s.Topic = cfg.PubSub.Subscription, cfg.PubSub.Topic
		if diff := cmp.Diff(top.Subscriptions[0], s); diff != "" {
			t.Errorf("%s is unlike the main one (-main +it):\n%s", got, diff)
		}
	}
	var want []string
	for n := range dispatch.OverflowLanes {
		want = append(want, fmt.Sprintf("visitor-identification-events-overflow-%d > visitor-identification-subscription-overflow-%d", n, n))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
}

// running is a daemon on the memory twins with tenant acme; log collects what it says.
type running struct {
	*Daemon
	backend *Backend
	log     *syncLog
}

// syncLog is a log that can be read while it is written.
type syncLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *syncLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func run(t *testing.T, cfg *config.Config, s store.Store, top queue.Topology) *running {
	t.Helper()
	cfg.Consumer.HealthAddr = "127.0.0.1:0"
	r := &running{backend: &Backend{Store: s, Queue: memqueue.New(memqueue.Options{})}, log: &syncLog{}}
	if err := r.backend.Queue.Create(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	reg, err := NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := NewDirectory(cfg, s, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := dir.Create(t.Context(), &tenant.Tenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	if r.Daemon, err = NewDaemon(cfg, r.backend, slog.New(slog.NewJSONHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		closeBackend(t, r.backend)
	})
	return r
}

// encoded is an event of tenant acme.
func encoded(t *testing.T, key string) *queue.Message {
	t.Helper()
	now := time.Now().UTC()
	m, err := envelope.Encode(&visitor.Event{
		Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: "acme", Source: "leadpipe",
		ID:     visitor.NewEventID("leadpipe", "acme", key, 0),
		Origin: visitor.OriginWebhook, IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
	}, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// publish publishes an event to a topic.
func (r *running) publish(t *testing.T, topic, key string) {
	t.Helper()
	if _, err := r.backend.Queue.Publisher(topic).Publish(t.Context(), encoded(t, key)); err != nil {
		t.Fatal(err)
	}
}

// await waits until n events are stored.
func (r *running) await(t *testing.T, n int64) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func(context.Context) bool {
		ended, _ := r.Stats()
		return ended["stored"] == n
	}, "events are stored")
}

// ready returns the status and the reason of /readyz.
func (r *running) ready(ctx context.Context) (status int, reason string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.HealthAddr()+"/readyz", nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var body struct {
		OK     bool
		Reason string
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.OK != (resp.StatusCode == http.StatusOK) {
		return 0, "odd answer"
	}
	return resp.StatusCode, body.Reason
}

func (r *running) awaitReady(t *testing.T, status int, reason string) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func(ctx context.Context) bool {
		s, why := r.ready(ctx)
		return s == status && why == reason
	}, fmt.Sprint("/readyz says ", status, " ", reason))
}

func TestEveryLaneIsReceived(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	r := run(t, cfg, memstore.New(memstore.Options{}), Topology(cfg))
	for i, topic := range Topology(cfg).Topics {
		if topic != cfg.PubSub.DeadLetterTopic {
			r.publish(t, topic, fmt.Sprint(i))
		}
	}
	r.await(t, 1+dispatch.OverflowLanes)
}

// TestMissingLaneStopsNothing: the main lane is received, and the missing one as soon as it is there.
func TestMissingLaneStopsNothing(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	top := Topology(cfg)
	none := top
	none.Subscriptions = nil
	for _, s := range top.Subscriptions {
		if !strings.HasPrefix(s.Name, cfg.PubSub.OverflowSubscription) {
			none.Subscriptions = append(none.Subscriptions, s)
		}
	}
	r := run(t, cfg, memstore.New(memstore.Options{}), none)
	r.publish(t, cfg.PubSub.Topic, "main")
	r.await(t, 1)
	r.awaitReady(t, http.StatusOK, "")
	if n := strings.Count(r.log.String(), "nothing is shed to an overflow lane"); n != dispatch.OverflowLanes {
		t.Errorf("%d warnings, want one of each lane:\n%s", n, r.log)
	}
	if err := r.backend.Queue.Create(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	r.publish(t, overflowName(cfg.PubSub.OverflowTopic, 3), "overflow")
	r.await(t, 2)
	testkit.Eventually(t, 30*time.Second, func(context.Context) bool {
		return strings.Count(r.log.String(), "overflow lane open again") == dispatch.OverflowLanes
	}, "each lane is told to be open again")
}

// TestLaneOfAnotherTopicIsClosed: what is shed to its own topic would be kept by nobody.
func TestLaneOfAnotherTopicIsClosed(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	top := Topology(cfg)
	for i := range top.Subscriptions {
		if top.Subscriptions[i].Name == overflowName(cfg.PubSub.OverflowSubscription, 2) {
			top.Subscriptions[i].Topic = overflowName(cfg.PubSub.OverflowTopic, 1)
		}
	}
	r := run(t, cfg, memstore.New(memstore.Options{}), top)
	testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
		return strings.Contains(r.log.String(), "subscription is one of another topic")
	}, "a warning")
}

// TestWhatGoesOnFailingIsLoggedOnceAMinute also when the pauses are shorter.
func TestWhatGoesOnFailingIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &syncLog{}
		d := &Daemon{cfg: load(t), logger: slog.New(slog.NewTextHandler(log, nil))}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute-time.Second)
		defer cancel()
		tries := 0
		d.keepReceiving(ctx, "sub", func() error {
			tries++
			return code.New(code.NotFound, "receive", errors.New("no such subscription"))
		})
		if n := strings.Count(log.String(), "receiving ended"); n < 4 || n > 5 || tries < 25 {
			t.Errorf("%d lines of %d tries in 5 minutes:\n%s", n, tries, log)
		}
	})
}

// TestRecoveredReceiverIsLoggedAtOnce: an error after a good while is news again.
func TestRecoveredReceiverIsLoggedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &syncLog{}
		d := &Daemon{cfg: load(t), logger: slog.New(slog.NewTextHandler(log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		tries := 0
		d.keepReceiving(ctx, "sub", func() error {
			if tries++; tries == 3 {
				cancel()
				return nil
			}
			time.Sleep(61 * time.Second)
			return errors.New("stream broke")
		})
		if n := strings.Count(log.String(), "after=200ms"); n != 2 {
			t.Errorf("%d lines with the first pause, want 2:\n%s", n, log)
		}
	})
}

// slow is a store whose commits wait to be released, or fail.
type slow struct {
	store.Store
	release chan struct{}
	mu      sync.Mutex
	away    bool
}

func (h *slow) set(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
}

func (h *slow) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return code.New(code.Unavailable, "store", nil)
	}
	return nil
}

func (h *slow) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	if err := h.err(); err != nil {
		return nil, err
	}
	return h.Store.Get(ctx, paths)
}

func (h *slow) Commit(ctx context.Context, writes []store.Write) error {
	if err := h.err(); err != nil {
		return err
	}
	h.mu.Lock()
	release := h.release
	h.mu.Unlock()
	if release != nil {
		<-release
	}
	return h.Store.Commit(ctx, writes)
}

// TestReadinessFollowsProgress: a process that receives and does not get on is not ready.
func TestReadinessFollowsProgress(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	cfg.Consumer.ReadyMaxAge = time.Millisecond // any message that waits is too old
	s := &slow{Store: memstore.New(memstore.Options{})}
	r := run(t, cfg, s, Topology(cfg))
	r.awaitReady(t, http.StatusOK, "")
	s.mu.Lock()
	s.release = make(chan struct{})
	s.mu.Unlock()
	r.publish(t, cfg.PubSub.Topic, "stuck")
	r.awaitReady(t, http.StatusServiceUnavailable, "a message is unfinished for too long")
	close(s.release)
	r.await(t, 1)
	r.awaitReady(t, http.StatusOK, "")
}

func TestReadinessFollowsTheGate(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	cfg.Consumer.CommitTimeout = 500 * time.Millisecond
	s := &slow{Store: memstore.New(memstore.Options{})}
	r := run(t, cfg, s, Topology(cfg))
	r.awaitReady(t, http.StatusOK, "")
	s.set(true)
	r.publish(t, cfg.PubSub.Topic, "held")
	r.awaitReady(t, http.StatusServiceUnavailable, "a system is away")
	s.set(false)
	r.await(t, 1)
	r.awaitReady(t, http.StatusOK, "")
}

func TestReadinessNeedsTheMainLane(t *testing.T) {
	t.Parallel()
	if got := (&Daemon{}).unready(); got != "not receiving" {
		t.Errorf("before it receives: %q", got)
	}
}

// refusing is a queue whose subscriptions can be described and, for a moment, received on until the service refuses.
type refusing struct {
	queue.Queue
	after time.Duration
}

func (q refusing) Subscriber(string, queue.FlowControl) queue.Subscriber { return q }

func (q refusing) Receive(ctx context.Context, _ queue.Handler) error {
	if !sleep(ctx, q.after) {
		return nil
	}
	return code.New(code.Denied, "receive", errors.New("no permission to consume"))
}

// TestNothingIsShedToALaneThatRefuses: a lane opens when receiving on it has gone well for a while.
func TestNothingIsShedToALaneThatRefuses(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]int64{refusalTime / 2: 0, time.Hour: 1} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := load(t)
				cfg.PubSub.MaxMessages = 8 // 4 of the main lane, and the third is over acme's share
				q := memqueue.New(memqueue.Options{})
				if err := q.Create(t.Context(), Topology(cfg)); err != nil {
					t.Fatal(err)
				}
				s := &slow{Store: memstore.New(memstore.Options{})}
				d := &Daemon{cfg: cfg, backend: &Backend{Store: s, Queue: refusing{q, after}}, logger: slog.New(slog.DiscardHandler)}
				reg, err := NewRegistry()
				if err != nil {
					t.Fatal(err)
				}
				if err := d.build(reg); err != nil {
					t.Fatal(err)
				}
				if _, err := d.tenants.Create(t.Context(), &tenant.Tenant{ID: "acme"}); err != nil {
					t.Fatal(err)
				}
				s.release = make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				all.Go(func() { d.receiveOverflow(ctx, dispatch.OverflowLane("acme")) })
				time.Sleep(min(after/2, 2*refusalTime)) // while it is received on
				for i := range 3 {
					all.Go(func() { d.dispatcher.Handle(ctx, encoded(t, fmt.Sprint(i))) })
					synctest.Wait()
				}
				close(s.release)
				synctest.Wait()
				cancel()
				all.Wait()
				if got, _ := d.Stats(); got["shed"] != want || got["stored"] != 3-want {
					t.Errorf("%v, want %d shed and the others stored", got, want)
				}
				d.dispatcher.Close()
				d.tenants.Close()
				if err := d.committer.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
