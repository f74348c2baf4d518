package devlink_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store/memstore"
)

// topic keeps what is published, or fails.
type topic struct {
	err  error
	sent []*queue.Message
}

func (p *topic) Publish(_ context.Context, m *queue.Message) (string, error) {
	p.sent = append(p.sent, m)
	return "m1", p.err
}

func TestPublish(t *testing.T) {
	t.Parallel()
	events := &topic{}
	topics := map[string]queue.Publisher{"events": events, "down": &topic{err: code.New(code.Unavailable, "publish", nil)}}
	c := serve(t, devlink.NewServer(memstore.New(memstore.Options{}), devlink.Info{}, devlink.WithTopics(topics)))
	for _, m := range []*queue.Message{
		{Data: []byte("x"), Attributes: map[string]string{"tenant_id": "acme"}},
		{Attributes: map[string]string{"k": ""}},
	} {
		if id, err := c.Publisher("events").Publish(t.Context(), m); id != "m1" || err != nil {
			t.Errorf("Publish = %q, %v", id, err)
		}
		if diff := cmp.Diff(m, events.sent[len(events.sent)-1]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	for name, tt := range map[string]struct {
		topic string
		m     *queue.Message
		want  code.Code
	}{
		"no such topic": {"nothing", &queue.Message{Data: []byte("x")}, code.NotFound},
		"publish fails": {"down", &queue.Message{Data: []byte("x")}, code.Unavailable},
		"empty":         {"events", &queue.Message{}, code.Invalid},
		"too large":     {"events", &queue.Message{Data: make([]byte, queue.MaxMessage+1)}, code.TooLarge},
	} {
		if _, err := c.Publisher(tt.topic).Publish(t.Context(), tt.m); code.Of(err) != tt.want {
			t.Errorf("%s: %v, want code %v", name, err, tt.want)
		}
	}
	without := serve(t, devlink.NewServer(memstore.New(memstore.Options{}), devlink.Info{}))
	if _, err := without.Publisher("events").Publish(t.Context(), &queue.Message{Data: []byte("x")}); code.Of(err) != code.Invalid {
		t.Errorf("a server without topics: %v, want code %v", err, code.Invalid)
	}
}
