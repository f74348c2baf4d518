package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
)

// subscriber is the client that the references share.
func subscriber(ctx context.Context, s site, outstanding int) (*pubsub.Client, *pubsub.Subscriber, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, nil, err
	}
	c, err := pubsub.NewClient(ctx, s.Project, option.WithEndpoint(s.PubSub), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, nil, fmt.Errorf("open pubsub: %w", err)
	}
	sub := c.Subscriber(cfg.PubSub.Subscription)
	sub.ReceiveSettings.NumGoroutines = streams
	sub.ReceiveSettings.MaxOutstandingMessages = outstanding
	return c, sub, nil
}

// receive calls handle for each message until all are acked.
func receive(ctx context.Context, t task, outstanding int, handle func(context.Context, *pubsub.Message) bool) error {
	c, s, err := subscriber(ctx, t.Site, outstanding)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var acked atomic.Int64
	err = s.Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
		if !handle(ctx, m) {
			m.Nack()
			return
		}
		m.Ack()
		if acked.Add(1) == int64(t.Messages) {
			cancel()
		}
	})
	return errors.Join(err, c.Close())
}

// floor receives and acks and does nothing.
func floor(ctx context.Context, t task, _ *drained) error {
	return receive(ctx, t, 1000, func(context.Context, *pubsub.Message) bool { return true })
}

// loop is the consumer that everybody writes first: decode, create the record, count it, ack.
func loop(ctx context.Context, t task, d *drained, outstanding int) error {
	fs, err := firestore.NewClient(ctx, t.Site.Project, option.WithEndpoint(t.Site.Firestore), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithPerRPCCredentials(owner{})))
	if err != nil {
		return fmt.Errorf("open firestore: %w", err)
	}
	var writes atomic.Int64
	err = receive(ctx, t, outstanding, func(ctx context.Context, m *pubsub.Message) bool {
		var body struct {
			Event map[string]any `json:"event"`
			Raw   []byte         `json:"raw"`
		}
		if json.Unmarshal(m.Data, &body) != nil {
			return true
		}
		doc := map[string]any{"event": body.Event, "raw": body.Raw}
		tenant := fs.Collection("tenants").Doc(m.Attributes["tenant_id"])
		writes.Add(1)
		switch _, err := tenant.Collection("visitor_identifications").Doc(m.Attributes["event_id"]).Create(ctx, doc); status.Code(err) {
		case codes.OK:
		case codes.AlreadyExists:
			return true
		default:
			return false
		}
		writes.Add(1)
		_, err := tenant.Collection("counters").Doc("usage").Set(ctx,
			map[string]any{"events": firestore.Increment(1)}, firestore.MergeAll)
		return err == nil
	})
	d.Writes = writes.Load()
	d.Commits = d.Writes
	return errors.Join(err, fs.Close())
}

// loopCounter is what the loop has counted for a tenant.
func loopCounter(ctx context.Context, s store.Store, id visitor.TenantID) (int64, error) {
	p, err := store.NewPath("tenants", string(id), "counters", "usage")
	if err != nil {
		return 0, err
	}
	docs, err := s.Get(ctx, []store.Path{p})
	if err != nil {
		return 0, fmt.Errorf("read counter: %w", err)
	}
	return docs[0].Fields.Int("events"), nil
}

// owner is the emulator's administrator.
type owner struct{}

func (owner) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer owner"}, nil
}

func (owner) RequireTransportSecurity() bool { return false }
