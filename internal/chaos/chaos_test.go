package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit/books"
)

func TestMain(m *testing.M) {
	// A dependency of Google's clients starts it with the program.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args    string
		want    options
		wantErr string
	}{
		{args: "", want: options{seed: 1, events: 1_000_000, parallel: 2}},
		{args: "-short -seed 7 -only kill,twins", want: options{short: true, seed: 7, events: 20_000, parallel: 3, only: []string{"kill", "twins"}}},
		{args: "-short -events 5 -parallel 1", want: options{short: true, seed: 1, events: 5, parallel: 1}},
		{args: "kill", wantErr: "want flags only"},
		{args: "-events -1", wantErr: "none of them negative"},
		{args: "-nonsense", wantErr: "not defined"},
	}
	for _, tt := range tests {
		got, err := parse(strings.Fields(tt.args), io.Discard)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%q: error %v, want %q", tt.args, err, tt.wantErr)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%q: %+v, %v; want %+v", tt.args, got, err, tt.want)
		}
	}
}

func TestHelpNamesEveryScenario(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if _, err := parse([]string{"-help"}, &out); err == nil {
		t.Error("help is not told apart")
	}
	for _, sc := range scenarios {
		if !strings.Contains(out.String(), sc.name) {
			t.Errorf("help lacks %s", sc.name)
		}
	}
	if _, err := choose([]string{"nonsense"}); err == nil {
		t.Error("an unknown scenario was chosen")
	}
	if got, err := choose([]string{"twins"}); err != nil || len(got) != 1 || got[0].name != "twins" {
		t.Errorf("chose %v, %v", got, err)
	}
}

// TestVerdict: whatever does not balance, is unfinished or was not run at all fails the suite.
func TestVerdict(t *testing.T) {
	t.Parallel()
	good := func() row {
		return row{Scenario: "good", Messages: 3, Report: books.Report{Counters: true, FirstMatch: true, Parked: true}}
	}
	for name, spoil := range map[string]func(*row){
		"lost": func(r *row) { r.Lost = 1 }, "duplicated": func(r *row) { r.Duplicated = 1 },
		"counters": func(r *row) { r.Counters = false }, "first match": func(r *row) { r.FirstMatch = false },
		"dead letters": func(r *row) { r.Parked = false }, "deviation": func(r *row) { r.Deviations = []string{"x"} },
		"unfinished": func(r *row) { r.Error = "not within 5m" }, "nothing published": func(r *row) { r.Messages = 0 },
	} {
		bad := good()
		bad.Scenario = "bad"
		spoil(&bad)
		if err := failed([]row{good(), bad}, 2); err == nil || err.Error() != "failed: bad" {
			t.Errorf("%s: verdict %v", name, err)
		}
	}
	if err := failed([]row{good()}, 1); err != nil {
		t.Errorf("what survived failed: %v", err)
	}
	if err := failed([]row{good()}, 2); err == nil {
		t.Error("a scenario that was not run did not fail")
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	r := row{Scenario: "x", Messages: 7, Poison: 1, Notes: []string{"noted"}, Error: "unfinished"}
	r.Report = books.Report{Distinct: 5, Stored: 4, Lost: 1, Deviations: []string{"one is missing"}}
	r.inject("SIGKILL", 3)
	r.inject("nothing", 0)
	var out strings.Builder
	if err := printTable(&out, []row{r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| x | NO | 3 SIGKILL | 7 | 5 | 4 | 1 | 0 | NO | NO | 0 of 1 | 0 | 0 |", "x: noted", "x: FAILED: unfinished", "x: FAILED: one is missing",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for _, id := range []string{"1", "2", "3", "4"} {
		l.expect(id)
	}
	for _, text := range []string{
		`{"message":"message","message_id":"1","event_id":"evt_a","outcome":"stored","delivery_attempt":1}`,
		`{"message":"message","message_id":"2","event_id":"evt_a","outcome":"duplicate","delivery_attempt":1}`,
		`{"message":"message","message_id":"2","event_id":"evt_a","outcome":"duplicate","delivery_attempt":2}`,
		`{"message":"message","message_id":"5","event_id":"evt_a","outcome":"duplicate","delivery_attempt":2,"lane":"overflow-1"}`,
		`{"message":"message","message_id":"5","event_id":"evt_a","outcome":"duplicate","delivery_attempt":3,"lane":"overflow-1"}`,
		`{"message":"message","message_id":"6","outcome":"shed","delivery_attempt":1,"lane":"overflow-1"}`,
		`{"message":"message","message_id":"6","event_id":"evt_a","outcome":"duplicate","delivery_attempt":2,"lane":"overflow-1"}`,
		`{"message":"message","message_id":"3","event_id":"evt_c","outcome":"nacked","delivery_attempt":1}`,
		`{"message":"message","message_id":"4","outcome":"parked","delivery_attempt":2}`,
		`{"message":"dead letter","dead_letter_id":"dl_1","outcome":"nacked"}`,
		`{"message":"dead letter","dead_letter_id":"dl_2","outcome":"stored"}`,
		`{"message":"gate closed"}`,
	} {
		e, ok := parseLine([]byte(text))
		if !ok {
			t.Fatalf("not a line: %s", text)
		}
		l.add(&e)
	}
	if _, ok := parseLine([]byte("panic: no JSON")); ok {
		t.Error("what is no line was taken for one")
	}
	p := l.progress()
	missing, published := l.missing()
	again, repeated := l.again()
	if p.ended != 5 || p.events != 1 || p.letters != 1 || missing != 1 || published != 4 || again != 3 || repeated != 2 || p.last.IsZero() {
		t.Errorf("progress %+v, missing %d of %d, again %d", p, missing, published, again)
	}
}

// TestCut: once its life is cut, a daemon gets no answer and gives none, and its message comes back.
func TestCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testCut) // leases take their time
}

func testCut(t *testing.T) {
	s, q := memstore.New(memstore.Options{}), memqueue.New(memqueue.Options{})
	err := q.Create(t.Context(), queue.Topology{Topics: []string{"topic"}, Subscriptions: []queue.SubscriptionSpec{{Name: "sub", Topic: "topic"}}})
	if err != nil {
		t.Fatal(err)
	}
	l := newLife()
	b := l.backend(&app.Backend{Store: s, Queue: q})
	write := []store.Write{{Path: "things/a", Fields: store.Fields{{Name: "n", Value: int64(1)}}}}
	if err := b.Store.Commit(t.Context(), write); err != nil {
		t.Fatalf("a living daemon's commit: %v", err)
	}
	if _, err := b.Queue.Publisher("topic").Publish(t.Context(), &queue.Message{Data: []byte("x")}); err != nil {
		t.Fatalf("a living daemon's publish: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		fc := queue.FlowControl{Shutdown: time.Millisecond}
		answered <- b.Queue.Subscriber("sub", fc).Receive(t.Context(), func(context.Context, *queue.Message) queue.Disposition {
			l.cut() // in the middle of it
			return queue.Ack
		})
	}()
	if err := <-answered; !errors.Is(err, errCut) {
		t.Errorf("Receive ended with %v", err)
	}
	if err := b.Store.Commit(t.Context(), write); !errors.Is(err, errCut) {
		t.Errorf("a commit after the cut: %v", err)
	}
	if _, err := b.Store.Get(t.Context(), []store.Path{"things/a"}); !errors.Is(err, errCut) {
		t.Errorf("a read after the cut: %v", err)
	}
	if _, err := b.Store.Query(t.Context(), store.Query{Collection: "things", Limit: 1}); !errors.Is(err, errCut) {
		t.Errorf("a query after the cut: %v", err)
	}
	if _, err := b.Queue.Publisher("topic").Publish(t.Context(), &queue.Message{Data: []byte("y")}); !errors.Is(err, errCut) {
		t.Errorf("a publish after the cut: %v", err)
	}
	if err := b.Queue.Subscriber("sub", queue.FlowControl{}).Receive(t.Context(), nil); !errors.Is(err, errCut) {
		t.Errorf("receiving after the cut: %v", err)
	}
	st := q.Stats("sub")
	if st.Acked != 0 || st.Published != 1 || l.withheld.Load() != 1 || code.Of(errCut) != code.Unavailable {
		t.Errorf("stats %+v, %d answers withheld", st, l.withheld.Load())
	}
	// The message is somebody else's after the lease.
	got := 0
	ctx, cancel := context.WithCancel(t.Context())
	err = q.Subscriber("sub", queue.FlowControl{}).Receive(ctx, func(context.Context, *queue.Message) queue.Disposition {
		got++
		cancel()
		return queue.Ack
	})
	if err != nil || got != 1 {
		t.Errorf("the next daemon got %d messages, error %v", got, err)
	}
	if err := q.WaitIdle(t.Context(), "sub"); err != nil {
		t.Error(err)
	}
}

// TestCutCommitMayBeApplied: a commit in flight at the cut is applied and its response is withheld.
func TestCutCommitMayBeApplied(t *testing.T) {
	t.Parallel()
	s, l := memstore.New(memstore.Options{}), newLife()
	_, err := mortal(l, func() (struct{}, error) {
		defer l.cut()
		return struct{}{}, s.Commit(t.Context(), []store.Write{{Path: "things/a", Fields: store.Fields{{Name: "n", Value: int64(1)}}}})
	})
	if !errors.Is(err, errCut) || l.withheld.Load() != 1 {
		t.Errorf("error %v, %d withheld", err, l.withheld.Load())
	}
	docs, err := s.Get(t.Context(), []store.Path{"things/a"})
	if err != nil || !docs[0].Exists {
		t.Errorf("the commit was not applied: %v, %v", docs, err)
	}
}

func TestPoisonIsExpectedAndDifferent(t *testing.T) {
	t.Parallel()
	r := &rig{}
	seen := map[string]bool{}
	for range poisons {
		ev := smallEvent(rand.New(rand.NewPCG(1, 1)), "acme", 1, 10, time.Now().UTC())
		m, err := r.poison(ev)
		if err != nil {
			t.Fatal(err)
		}
		if err := queue.CheckMessage(m); err != nil {
			t.Errorf("poison cannot be published: %v", err)
		}
		if m.Attributes[books.AttrPoison] == "" || ev.TenantID != visitor.TenantID("acme") {
			t.Errorf("attributes %v of an event of %s", m.Attributes, ev.TenantID)
		}
		seen[string(m.Data)+m.Attributes["tenant_id"]] = true
	}
	if len(seen) != len(poisons) || r.want.Poison() != len(poisons) {
		t.Errorf("%d different ones of %d, %d expected", len(seen), len(poisons), r.want.Poison())
	}
}

// forever is a daemon's life until a signal.
const forever = "while :; do sleep 0.05; done"

// fakeDaemon is a program that prepares as told, logs what a daemon logs, and then does as told.
func fakeDaemon(t *testing.T, first, then string) *rig {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usher")
	script := "#!/bin/sh\n" + first + "\necho '{\"message\":\"daemon started\"}'\n" + then + "\n"
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &rig{s: &suite{usher: file, stderr: io.Discard}, name: "fake", ledger: newLedger()}
	cfg, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = cfg
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		for _, d := range r.daemons {
			if d.running() {
				t.Error("a daemon was left behind")
			}
		}
	})
	return r
}

func TestDaemonsExitCodeCounts(t *testing.T) {
	t.Parallel()
	for trap, want := range map[string]string{
		"trap 'exit 0' TERM":                  "",
		"trap 'echo broken >&2; exit 3' TERM": "exit status 3: broken",
	} {
		d, err := fakeDaemon(t, trap, forever).start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.terminate()
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", trap, err, want)
		}
	}
}

func TestDaemonThatEndsByItself(t *testing.T) {
	t.Parallel()
	r := fakeDaemon(t, "", "sleep 0.1; echo gone >&2; exit 1")
	d, err := r.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-d.exited
	if err := r.terminate(); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("terminate = %v", err)
	}
}

func TestKillAndCleanUp(t *testing.T) {
	t.Parallel()
	r := fakeDaemon(t, "trap '' TERM", forever)
	killed, err := r.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.kill(); err != nil || killed.running() {
		t.Errorf("kill = %v", err)
	}
	if _, err := r.start(t.Context()); err != nil { // left to the cleanup
		t.Fatal(err)
	}
}
