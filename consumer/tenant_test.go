package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
)

// storedStatus writes a tenant's status as another build would: status TENANT STATUS.
func storedStatus(ts *testscript.TestScript, _ bool, args []string) {
	link := devlink.Dial(ts.Getenv("USHER_DEV_ADDR"))
	p, err := layout.Tenant(visitor.TenantID(args[0]))
	ts.Check(err)
	ts.Check(link.Commit(context.Background(), []store.Write{{
		Path: p, Merge: true, Fields: store.Fields{{Name: "status", Value: args[1]}, {Name: "updated_at", Value: time.Now()}},
	}}))
	ts.Check(link.Close())
}

// shown waits until a command prints what matches: show PATTERN tenant show acme.
func shown(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	until(ts, args[0], func() bool {
		return ts.Exec("usher", args[1:]...) == nil && pattern.MatchString(ts.ReadFile("stdout"))
	})
}

// TestSettle: waiting for the daemons ends with the command.
func TestSettle(t *testing.T) {
	t.Parallel()
	c := &cli{stdout: io.Discard, stderr: io.Discard}
	gone := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := c.settle(ctx, time.Hour); !errors.Is(err, gone) {
		t.Errorf("error %v, want what ended it", err)
	}
	if err := c.settle(ctx, -time.Second); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
}

// publisherFunc is a function as a queue.Publisher.
type publisherFunc func(ctx context.Context, m *queue.Message) (string, error)

func (f publisherFunc) Publish(ctx context.Context, m *queue.Message) (string, error) {
	return f(ctx, m)
}

// TestReleaseEndsWhenTheTenantIsPausedAgain: else each event would be put back and held again for ever.
func TestReleaseEndsWhenTheTenantIsPausedAgain(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	dir, err := directory.New(directory.Options{Store: s, Staleness: time.Hour, CacheSize: 1, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	if _, err := dir.Create(t.Context(), &tenant.Tenant{ID: "hooli"}); err != nil {
		t.Fatal(err)
	}
	keeper, err := held.New(held.Options{Store: s, Now: time.Now, Retention: time.Hour, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	published := 0
	daemon := publisherFunc(func(ctx context.Context, m *queue.Message) (string, error) {
		if published++; published == 10 {
			cancel()
		}
		if _, err := setStatus(ctx, dir, "hooli", tenant.Disabled); err != nil {
			return "", err
		}
		return "1", keeper.Hold(ctx, &visitor.Event{ID: "evt_a", TenantID: "hooli"}, m)
	})
	if err := keeper.Hold(ctx, &visitor.Event{ID: "evt_a", TenantID: "hooli"}, &queue.Message{Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	c := &cli{stdout: io.Discard, stderr: io.Discard}
	_, err = c.release(ctx, &app.Operator{Store: s, Tenants: dir}, "hooli", held.ReleaseOptions{Events: daemon}, false)
	if !errors.Is(err, errNotActive) || published != 1 {
		t.Errorf("%d published, error %v, want one and that the tenant is not active", published, err)
	}
	if n, err := held.Count(t.Context(), s, "hooli", 10); n != 1 || err != nil {
		t.Errorf("%d held, %v, want the event still", n, err)
	}
}
