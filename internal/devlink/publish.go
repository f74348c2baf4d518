package devlink

import (
	"context"
	"net/http"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

// Option adds to what a server serves.
type Option func(*http.ServeMux)

// WithTopics lets siblings publish to topics, by name.
func WithTopics(topics map[string]queue.Publisher) Option {
	return func(mux *http.ServeMux) {
		mux.Handle("POST "+pathPublish, serve(func(r *http.Request, p publication) (string, error) {
			to := topics[p.Topic]
			if to == nil {
				return "", code.New(code.NotFound, "publish: no such topic", nil)
			}
			return to.Publish(r.Context(), &queue.Message{Data: p.Data, Attributes: p.Attributes})
		}))
	}
}

// publication is a message on its way to a topic.
type publication struct {
	Topic      string
	Data       []byte
	Attributes map[string]string
}

// Publisher publishes to a topic of the running process. It keeps the contract of [queue.Publisher].
func (c *Client) Publisher(topic string) queue.Publisher { return publisher{c, topic} }

type publisher struct {
	client *Client
	topic  string
}

// Publish returns the message's id once the running process has it acknowledged.
func (p publisher) Publish(ctx context.Context, m *queue.Message) (string, error) {
	if err := queue.CheckMessage(m); err != nil {
		return "", err
	}
	return call[publication, string](ctx, p.client, pathPublish, publication{p.topic, m.Data, m.Attributes})
}
