package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/usage"
)

func bindingOf(name string) tenant.Binding { return tenant.Binding{Name: name} }

// staleness is how long the daemon of the test below may use a record.
const staleness = 200 * time.Millisecond

func openDirectory(t *testing.T, s store.Store, reg *processor.Registry) *directory.Directory {
	t.Helper()
	d, err := directory.New(directory.Options{Store: s, Registry: reg, Staleness: staleness, CacheSize: 100, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// plant is a running daemon: memqueue to dispatcher to committer to memstore.
type plant struct {
	store *memstore.Store
	queue *memqueue.Queue
	admin *directory.Directory // as of another process
	bench *bench
	sent  map[visitor.TenantID]int
}

const (
	topic = "events"
	sub   = "events-sub"
)

func startPlant(t *testing.T) *plant {
	t.Helper()
	reg := registry(t, &custom{"tally", func(*visitor.Event) (processor.Result, error) {
		return processor.Result{Effects: []processor.Effect{processor.Count{Name: "tallied", N: 1}}}, nil
	}})
	p := &plant{
		store: memstore.New(memstore.Options{}), queue: memqueue.New(memqueue.Options{}), sent: map[visitor.TenantID]int{},
	}
	p.admin = openDirectory(t, p.store, reg)
	reader := openDirectory(t, p.store, reg)
	p.bench = setup(t, nil, func(o *dispatch.Options) {
		o.Tenants, o.Registry, o.Committer, o.Now, o.SuccessSample = reader, reg, committer(t, p.store), time.Now, 0
		o.Logger = slog.New(slog.DiscardHandler)
	})
	err := p.queue.Create(t.Context(), queue.Topology{
		Topics: []string{topic}, Subscriptions: []queue.SubscriptionSpec{{Name: sub, Topic: topic, AckDeadline: time.Minute}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- p.queue.Subscriber(sub, queue.FlowControl{MaxMessages: 200}).Receive(ctx, p.bench.Handle)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("receive: %v", err)
		}
	})
	return p
}

func (p *plant) create(t *testing.T, id visitor.TenantID, chain ...tenant.Binding) {
	t.Helper()
	if _, err := p.admin.Create(t.Context(), &tenant.Tenant{ID: id, Processors: chain}); err != nil {
		t.Fatal(err)
	}
}

// send publishes an event of each tenant; every second one is of a person with a title.
func (p *plant) send(t *testing.T, n int, ids ...visitor.TenantID) {
	t.Helper()
	for _, id := range ids {
		ev := event(visitor.EventID(fmt.Sprintf("evt_%s_%d", id, n)), id, fmt.Sprint("ada", n%50))
		ev.IdentifiedAt = time.Now()
		ev.Receipt.ReceivedAt = now // one usage month, whatever day it is
		if n%2 == 0 {
			ev.Person.Title = "Engineer"
		}
		if _, err := p.queue.Publisher(topic).Publish(t.Context(), message(t, ev)); err != nil {
			t.Fatal(err)
		}
		p.sent[id]++
	}
}

func (p *plant) usage(t *testing.T, id visitor.TenantID) *usage.Month {
	t.Helper()
	m, err := usage.Read(t.Context(), p.store, id, now.Format("2006-01"), 2)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scored sums a score over a tenant's visitors.
func (p *plant) scored(t *testing.T, id visitor.TenantID, name string) (sum int64) {
	t.Helper()
	c, err := layout.VisitorCollection(id)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := p.store.Query(t.Context(), store.Query{Collection: c, Limit: store.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		sum += profile.Load(d).Scores[name]
	}
	return sum
}

// titled is a condition that half of the events meet.
var titled = map[string]any{"field": "person.title", "op": "equals", "value": "Engineer"}

// TestChainsChange: three tenants have different chains and settings; one chain is changed by another process
// while 1,000 events/s flow. It takes effect within the staleness bound, without restart; nothing is lost and
// the other tenants notice nothing.
func TestChainsChange(t *testing.T) {
	t.Parallel()
	p := startPlant(t)
	all := []visitor.TenantID{"plain", "picky", "rich"}
	p.create(t, "plain", bindingOf("profile"))
	p.create(t, "picky", tenant.Binding{Name: "filter", Settings: map[string]any{"conditions": []any{titled}}}, bindingOf("profile"))
	p.create(t, "rich", bindingOf("profile"), tenant.Binding{Name: "score", Settings: map[string]any{
		"name": "fit", "rules": []any{map[string]any{"when": titled, "points": 10}},
	}}, bindingOf("tally"))

	// One round of three events every 3 ms, as a ticker gives it; none is skipped, so that a loaded machine
	// makes the test longer and not wrong.
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	n := 0
	round := func() {
		<-tick.C
		p.send(t, n, all...)
		n++
	}
	for range 100 {
		round()
	}
	before := p.usage(t, "plain").Events // what is on its way may go through the new chain
	_, err := p.admin.Update(t.Context(), "plain", func(x *tenant.Tenant) error {
		x.Processors = append(x.Processors, bindingOf("tally"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	var seen time.Duration
	for seen == 0 {
		round()
		if p.usage(t, "plain").Custom["tallied"] > 0 {
			seen = time.Since(changed)
		} else if time.Since(changed) > staleness+30*time.Second {
			t.Fatal("the change is not in effect")
		}
	}
	t.Logf("in effect after %v", seen)
	// Once the bound is over, each further event goes through the new chain: counted from here exactly.
	for time.Since(changed) <= staleness {
		round()
	}
	p.idle(t)
	tallied, from := p.usage(t, "plain").Custom["tallied"], n
	for range 100 {
		round()
	}
	p.idle(t)
	if got := p.usage(t, "plain").Custom["tallied"] - tallied; got != int64(n-from) {
		t.Errorf("%d of %d events after the bound went through the new chain", got, n-from)
	}
	if tallied > int64(from)-before {
		t.Errorf("%d events tallied, but %d were not through before the change", tallied, int64(from)-before)
	}
	p.checkTotals(t, int64(n))
}

// idle waits until everything sent is handled.
func (p *plant) idle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("not idle"))
	defer cancel()
	if err := p.queue.WaitIdle(ctx, sub); err != nil {
		t.Fatal(err)
	}
}

// checkTotals checks that nothing was lost and that each tenant got what its own chain says.
func (p *plant) checkTotals(t *testing.T, n int64) {
	t.Helper()
	half := int64(math.Ceil(float64(n) / 2))
	for id, want := range map[visitor.TenantID]int64{"plain": n, "picky": half, "rich": n} {
		if m := p.usage(t, id); m.Events != want || m.Identifications+m.Repeats != want {
			t.Errorf("%s: usage %+v, want %d events", id, m.Counts, want)
		}
	}
	if got := p.usage(t, "rich").Custom["tallied"]; got != n {
		t.Errorf("rich: %d tallied of %d", got, n)
	}
	if got := p.usage(t, "picky").Custom["tallied"]; got != 0 {
		t.Errorf("picky: %d tallied", got)
	}
	if got := p.scored(t, "rich", "fit"); got != 10*half {
		t.Errorf("rich: score %d, want %d", got, 10*half)
	}
	st := p.bench.Stats()
	if st["stored"] != 2*n+half || st["filtered"] != n-half || st["duplicate"]+st["parked"]+st["nacked"] != 0 {
		t.Errorf("stats %v of %d events each", st, n)
	}
}

// TestUnknownProcessorIsRefusedAtUpdate: it never gets as far as a system error at run time.
func TestUnknownProcessorIsRefusedAtUpdate(t *testing.T) {
	t.Parallel()
	p := startPlant(t)
	p.create(t, "plain")
	_, err := p.admin.Update(t.Context(), "plain", func(x *tenant.Tenant) error {
		x.Processors = []tenant.Binding{bindingOf("nope")}
		return nil
	})
	if !errors.Is(err, processor.ErrUnknown) {
		t.Errorf("error %v", err)
	}
	p.send(t, 0, "plain")
	p.idle(t)
	if st := p.bench.Stats(); st["stored"] != 1 {
		t.Errorf("stats %v", st)
	}
}

// TestChainIsBoundOncePerChange: settings are bound when the record changes, not with each event.
func TestChainIsBoundOncePerChange(t *testing.T) {
	t.Parallel()
	c := &counting{}
	b := setup(t, nil, func(o *dispatch.Options) { o.Registry = registry(t, c) })
	t1 := b.tenants.known["t1"]
	t1.Processors = []tenant.Binding{bindingOf("counting")}
	for version := range int64(3) {
		changed := *t1
		changed.Version = version
		b.tenants.known["t1"] = &changed
		for range 10 {
			b.Handle(t.Context(), good(t))
		}
		if got := c.configured.Load(); got != version+1 {
			t.Errorf("version %d: configured %d times", version, got)
		}
	}
}

// counting counts how often it is configured.
type counting struct{ configured atomic.Int64 }

func (*counting) Register() processor.Registration {
	return processor.Registration{Name: "counting", Version: "1.0.0", Title: "Counting", Description: "Counts."}
}

func (c *counting) Configure(processor.Settings) (processor.Handler, error) {
	c.configured.Add(1)
	return processor.HandlerFunc(func(context.Context, *visitor.Event) (processor.Result, error) {
		return processor.Result{}, nil
	}), nil
}
