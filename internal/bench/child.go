package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/app"
)

// runChild is one consumer in a process of its own, so that its CPU time is its own.
func runChild(ctx context.Context, o options, stdout io.Writer) error {
	consume := map[string]func(context.Context, options, *drain) error{
		"floor":         floor,
		"loop-20":       func(ctx context.Context, o options, d *drain) error { return loop(ctx, o, d, 20) },
		"loop-1000":     func(ctx context.Context, o options, d *drain) error { return loop(ctx, o, d, 1000) },
		"usher":         usher,
		"usher-records": usher,
	}[o.child]
	if consume == nil {
		return fmt.Errorf("no consumer %q", o.child)
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	var d drain
	start, cpu := now(), cpuTime()
	if err := consume(ctx, o, &d); err != nil {
		return err
	}
	d.Seconds, d.CPU = now().Sub(start).Seconds(), (cpuTime() - cpu).Seconds()
	return json.NewEncoder(stdout).Encode(d)
}

// usher is the daemon, as `usher run` starts it.
func usher(ctx context.Context, o options, d *drain) error {
	cfg, err := loadConfig(o)
	if err != nil {
		return err
	}
	b, err := app.Open(ctx, cfg)
	if err != nil {
		return err
	}
	daemon, err := app.NewDaemon(cfg, b, quietLogger())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return errors.Join(errors.New("daemon ended early"), err)
		case <-tick.C:
		}
		ended, commits := daemon.Stats()
		if ended["stored"]+ended["duplicate"]+ended["parked"] < int64(o.messages) {
			continue
		}
		d.Commits, d.Writes, d.Reads = commits.Commits, commits.Writes, commits.Reads
		cancel()
		return errors.Join(<-done, b.Close())
	}
}

// subscriber is the client that the references share.
func subscriber(ctx context.Context, o options, outstanding int) (*pubsub.Client, *pubsub.Subscriber, error) {
	c, err := pubsub.NewClient(ctx, o.project, option.WithEndpoint(o.pubsub), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, nil, fmt.Errorf("open pubsub: %w", err)
	}
	cfg, err := loadConfig(o)
	if err != nil {
		return nil, nil, err
	}
	s := c.Subscriber(cfg.PubSub.Subscription)
	s.ReceiveSettings.NumGoroutines = streams
	s.ReceiveSettings.MaxOutstandingMessages = outstanding
	return c, s, nil
}

// receive calls handle for each message until all are acked.
func receive(ctx context.Context, o options, outstanding int, handle func(context.Context, *pubsub.Message) bool) error {
	c, s, err := subscriber(ctx, o, outstanding)
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
		if acked.Add(1) == int64(o.messages) {
			cancel()
		}
	})
	return errors.Join(err, c.Close())
}

func floor(ctx context.Context, o options, _ *drain) error {
	return receive(ctx, o, 1000, func(context.Context, *pubsub.Message) bool { return true })
}

// loop is the consumer that everybody writes first: decode, create the record, count it, ack.
func loop(ctx context.Context, o options, d *drain, outstanding int) error {
	fs, err := firestore.NewClient(ctx, o.project, option.WithEndpoint(o.firestore), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithPerRPCCredentials(owner{})))
	if err != nil {
		return fmt.Errorf("open firestore: %w", err)
	}
	var writes atomic.Int64
	err = receive(ctx, o, outstanding, func(ctx context.Context, m *pubsub.Message) bool {
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

// owner is the emulator's administrator.
type owner struct{}

func (owner) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer owner"}, nil
}

func (owner) RequireTransportSecurity() bool { return false }
