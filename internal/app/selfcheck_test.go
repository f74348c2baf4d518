package app_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
)

// denying is a queue that refuses to tell about one subscription.
type denying struct {
	queue.Queue
	name string
}

func (q denying) Check(ctx context.Context, subscription string) error {
	if subscription == q.name {
		return code.New(code.Denied, "check subscription", nil)
	}
	return q.Queue.Check(ctx, subscription)
}

// TestDaemonWarnsOfLostDeadLetters, and starts all the same.
func TestDaemonWarnsOfLostDeadLetters(t *testing.T) {
	t.Parallel()
	const lost, unchecked = "dead letters are lost", "the subscription of dead letters cannot be checked"
	for _, tt := range []struct {
		name            string
		missing, denied bool
		want, not       string
	}{
		{name: "kept", want: "daemon started", not: `"severity":"WARNING"`},
		{name: "missing", missing: true, want: lost, not: unchecked},
		{name: "denied", denied: true, want: unchecked, not: lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			b := twins(t, cfg, memstore.Options{})
			if tt.missing {
				cfg.PubSub.DeadLetterSubscription = "elsewhere"
			}
			if tt.denied {
				b = &app.Backend{Store: b.Store, Queue: denying{b.Queue, cfg.PubSub.DeadLetterSubscription}}
			}
			var logs bytes.Buffer // read once the daemon has ended
			logger, err := app.NewLogger(&logs, cfg, "daemon")
			if err != nil {
				t.Fatal(err)
			}
			d, err := app.NewDaemon(cfg, b, logger)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- d.Run(ctx) }()
			testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
				return health(t, d, "/readyz") == http.StatusOK
			}, "the daemon is ready")
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			if out := logs.String(); !strings.Contains(out, tt.want) || strings.Contains(out, tt.not) {
				t.Errorf("want a line %q and none %q:\n%s", tt.want, tt.not, out)
			}
		})
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
