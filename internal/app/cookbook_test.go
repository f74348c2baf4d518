package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
)

// cookbookMessage is what a publisher written after MDB's cookbook publishes for the same webhook each time.
func cookbookMessage(received time.Time) *queue.Message {
	return &queue.Message{
		Data: fmt.Appendf(nil, `{"id":"evt_%d","timestamp":%[1]d,"tenant_id":"acme","page_id":"home",
			"mdb_data":{"first_name":"Ada","work_email":"ada@example.com"},"pixel_options":{"tenant_id":"acme","page_id":"home"},
			"processing_metadata":{"webhook_received_at":%q,"function_execution_id":"exec-1"}}`,
			received.UnixMilli(), received.UTC().Format("2006-01-02T15:04:05.000Z")),
		Attributes: map[string]string{"tenant_id": "acme", "event_type": "visitor_identified"},
	}
}

// TestCookbookRepeats: the cookbook's retry window is that of the first endpoint for the same webhooks. The same
// webhook comes twice, two hours apart; the source's own window is one hour.
func TestCookbookRepeats(t *testing.T) {
	t.Parallel()
	mdb := func(d time.Duration) config.Endpoint {
		return config.Endpoint{Name: "mdb", Source: "mdb_legacy", RepeatAfter: d}
	}
	other := config.Endpoint{Name: "other", Source: "leadpipe", RepeatAfter: 3 * time.Hour}
	for _, tt := range []struct {
		name      string
		endpoints []config.Endpoint
		stored    int64
	}{
		{"no endpoints", nil, 2},
		{"an endpoint of another source", []config.Endpoint{other}, 2},
		{"an endpoint with a longer window", []config.Endpoint{other, mdb(3 * time.Hour)}, 1},
		{"the first counts", []config.Endpoint{mdb(0), mdb(3 * time.Hour)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			cfg.Endpoints = tt.endpoints
			b := twins(t, cfg, memstore.Options{})
			d, stop := start(t, cfg, b)
			now := time.Now()
			for _, received := range []time.Time{now.Add(-2 * time.Hour), now} {
				if _, err := b.Queue.Publisher(cfg.PubSub.Topic).Publish(t.Context(), cookbookMessage(received)); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
				ended, _ := d.Stats()
				return ended["stored"]+ended["duplicate"] == 2
			}, "both are processed")
			if err := stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
			if ended, _ := d.Stats(); ended["stored"] != tt.stored {
				t.Errorf("%d are stored, want %d", ended["stored"], tt.stored)
			}
		})
	}
}
