package app_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
)

// altered is a queue whose subscriptions are set up otherwise, and that may have no say.
type altered struct {
	queue.Queue
	info  func(name string, info *queue.SubscriptionInfo) error
	lacks []queue.Grant
	err   error // of looking for grants
}

func (q altered) Describe(ctx context.Context, name string) (queue.SubscriptionInfo, error) {
	info, err := q.Queue.Describe(ctx, name)
	if err == nil && q.info != nil {
		err = q.info(name, &info)
	}
	return info, err
}

func (q altered) MissingGrants(_ context.Context, _, topic string) ([]queue.Grant, error) {
	if topic != "visitor-identification-dead-letters" {
		return nil, errors.New("asked for another topic")
	}
	return q.lacks, q.err
}

// of alters one subscription.
func of(name string, alter func(*queue.SubscriptionInfo)) func(string, *queue.SubscriptionInfo) error {
	return func(n string, info *queue.SubscriptionInfo) error {
		if n == name {
			alter(info)
		}
		return nil
	}
}

const (
	mainLane   = "visitor-identification-subscription"
	oneLane    = "visitor-identification-subscription-overflow-2"
	deadLetter = "visitor-identification-dead-letters-subscription"
	notSetUp   = `"msg":"a subscription is not set up as usher needs it","subscription":"`
	closed     = `"msg":"nothing is shed to an overflow lane that cannot be received on","subscription":"` + oneLane
	grantless  = `"msg":"Pub/Sub cannot forward dead letters: it lacks a role, unless the project grants it","subscription":"`
)

// TestDaemonWarnsOfItsSetup, and starts all the same.
func TestDaemonWarnsOfItsSetup(t *testing.T) {
	t.Parallel()
	unsupported := altered{err: errors.ErrUnsupported}
	with := func(name string, alter func(*queue.SubscriptionInfo)) altered {
		q := unsupported
		q.info = of(name, alter)
		return q
	}
	fails := func(c code.Code) altered {
		q := unsupported
		q.info = func(name string, _ *queue.SubscriptionInfo) error {
			if name == deadLetter || name == oneLane {
				return code.New(c, "check subscription", nil)
			}
			return nil
		}
		return q
	}
	agent := queue.Grant{Member: "service-1@example.com", Role: "roles/pubsub.publisher", On: "topic dead"}
	for _, tt := range []struct {
		name  string
		queue altered
		warns []string // every warning begins like one of these
	}{
		{"as it should be", unsupported, nil},
		{"missing", fails(code.NotFound), []string{
			closed,
			notSetUp + deadLetter + `","problem":"it is missing, so dead letters are lost`,
		}},
		{"denied", fails(code.Denied), []string{
			closed,
			notSetUp + deadLetter + `","problem":"it cannot be checked","error":"check subscription: denied"`,
		}},
		{"no policy", with(mainLane, func(i *queue.SubscriptionInfo) { i.DeadLetterTopic, i.MaxAttempts = "", 0 }), []string{
			notSetUp + mainLane + `","problem":"it has no dead-letter policy`,
		}},
		{"no policy of a lane", with(oneLane, func(i *queue.SubscriptionInfo) { i.DeadLetterTopic, i.MaxAttempts = "", 0 }), []string{
			notSetUp + oneLane + `","problem":"it has no dead-letter policy`,
		}},
		{"weak policy", with(mainLane, func(i *queue.SubscriptionInfo) { i.MaxAttempts, i.MinBackoff = 99, 9*time.Second }), []string{
			notSetUp + mainLane + `","problem":"it allows less than 100 delivery attempts`,
			notSetUp + mainLane + `","problem":"its minimum backoff is under 10s`,
		}},
		{"a lane of another kind", with(oneLane, func(i *queue.SubscriptionInfo) {
			i.Expiry, i.ExactlyOnce = time.Hour, true
		}), []string{
			notSetUp + oneLane + `","problem":"it is deleted when nobody receives on it`,
			notSetUp + oneLane + `","problem":"exactly-once delivery is on`,
		}},
		{"of another topic", with(mainLane, func(i *queue.SubscriptionInfo) { i.Topic = "elsewhere" }), []string{
			notSetUp + mainLane + `","problem":"it belongs to another topic`,
		}},
		{"a lane of another topic", with(oneLane, func(i *queue.SubscriptionInfo) { i.Topic = "elsewhere" }), []string{closed}},
		{"dead letters of another kind", with(deadLetter, func(i *queue.SubscriptionInfo) {
			i.Topic, i.Expiry, i.Retention = "elsewhere", time.Hour, 7*24*time.Hour
		}), []string{
			notSetUp + deadLetter + `","problem":"it belongs to another topic`,
			notSetUp + deadLetter + `","problem":"it is deleted when nobody receives on it`,
			notSetUp + deadLetter + `","problem":"it keeps messages for less than 31 days`,
		}},
		{"no grants", altered{lacks: []queue.Grant{agent}}, []string{
			grantless + mainLane + `","member":"service-1@example.com","role":"roles/pubsub.publisher","resource":"topic dead"`,
			grantless + "visitor-identification-subscription-overflow-0", grantless + "visitor-identification-subscription-overflow-1",
			grantless + oneLane, grantless + "visitor-identification-subscription-overflow-3",
		}},
		{"may not look", altered{err: code.New(code.Denied, "read grants", nil)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			b := twins(t, cfg, memstore.Options{})
			tt.queue.Queue = b.Queue
			out := startLog(t, cfg, &app.Backend{Store: b.Store, Queue: tt.queue}, tt.warns)
			checkWarnings(t, out, tt.warns)
			told := strings.Contains(out, "roles/iam.securityReviewer lets the daemon read the grants")
			if want := code.Of(tt.queue.err) == code.Denied; told != want {
				t.Errorf("what cannot be checked is told: %v, want %v:\n%s", told, want, out)
			}
		})
	}
}

// output is a log that can be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startLog starts a daemon, has it end once it is ready and has logged some texts, and returns all that it logged.
func startLog(t *testing.T, cfg *config.Config, b *app.Backend, texts []string) string {
	t.Helper()
	out := &output{}
	d, err := app.NewDaemon(cfg, b, slog.New(slog.NewJSONHandler(out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
		log := out.String()
		return health(t, d, "/readyz") == http.StatusOK &&
			!slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(log, s) })
	}, "the daemon is ready and has logged what it is to log")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return out.String()
}

// checkWarnings holds a log to warnings: those and no others.
func checkWarnings(t *testing.T, out string, want []string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(out) {
		if !strings.Contains(line, `"level":"WARN"`) {
			continue
		}
		n++
		if !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(line, w) }) {
			t.Errorf("unexpected: %s", line)
		}
	}
	if n != len(want) {
		t.Errorf("%d warnings, want %d", n, len(want))
	}
}

// TestDeadLettersAreKept parks a message on what [app.Topology] creates.
func TestDeadLettersAreKept(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := twins(t, cfg, memstore.Options{})
	d, stop := start(t, cfg, b)
	if _, err := b.Queue.Publisher(cfg.PubSub.Topic).Publish(t.Context(), &queue.Message{Data: []byte("junk")}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func(ctx context.Context) bool {
		docs, err := b.Store.Query(ctx, store.Query{Collection: layout.DeadLetterCollection(), Limit: 10})
		return err == nil && len(docs) == 1
	}, "the message is kept as a dead letter")
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if ended, _ := d.Stats(); ended["parked"] != 1 {
		t.Errorf("ended: %v, want one parked", ended)
	}
}
