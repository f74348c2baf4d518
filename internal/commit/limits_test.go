package commit_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/gcpfirestore"
)

// wire is a Firestore that stores nothing and notes how large each Commit is as it comes over the wire.
type wire struct {
	firestorepb.UnimplementedFirestoreServer
	mu                     sync.Mutex
	commits, bytes, writes int // number, and the largest
}

func (w *wire) Commit(_ context.Context, r *firestorepb.CommitRequest) (*firestorepb.CommitResponse, error) {
	time.Sleep(20 * time.Millisecond) // meanwhile the next batch fills
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits++
	w.bytes, w.writes = max(w.bytes, proto.Size(r)), max(w.writes, len(r.GetWrites()))
	return &firestorepb.CommitResponse{}, nil
}

func (w *wire) BatchGetDocuments(r *firestorepb.BatchGetDocumentsRequest, s firestorepb.Firestore_BatchGetDocumentsServer) error {
	for _, name := range r.GetDocuments() {
		missing := &firestorepb.BatchGetDocumentsResponse{Result: &firestorepb.BatchGetDocumentsResponse_Missing{Missing: name}}
		if err := s.Send(missing); err != nil {
			return err
		}
	}
	return nil
}

func openWire(t *testing.T, w *wire) store.Store {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	firestorepb.RegisterFirestoreServer(srv, w)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	c, err := gcpfirestore.Open(t.Context(), gcpfirestore.Options{
		Project: strings.Repeat("p", 30), EmulatorHost: l.Addr().String(), // the longest name of a project
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestLimitsOnTheWire: whatever the events are like, no Commit has over 500 writes or 2 MiB, although batches are
// bounded by what messages take and not by what documents do.
func TestLimitsOnTheWire(t *testing.T) {
	t.Parallel()
	rich := func(ev *visitor.Event) {
		for i := range 20 {
			ev.Person.Emails = append(ev.Person.Emails, visitor.Email{Address: fmt.Sprintf("a%d@example.com", i), Kind: "work", Validity: "valid"})
			ev.Person.Phones = append(ev.Person.Phones, visitor.Phone{Number: fmt.Sprintf("+155501%02d", i), Kind: "work"})
		}
		yes, n := true, 0.5
		ev.Session.Network = visitor.Network{IP: "192.0.2.1", City: "a", Region: "b", CountryCode: "PT", BotScore: &n, VerifiedBot: &yes}
		ev.Attribution.PageID, ev.Attribution.CampaignID = "home", "fall"
	}
	pages := func(n int) func(*visitor.Event) {
		return func(ev *visitor.Event) {
			for i := range n {
				ev.Visit.Pages = append(ev.Visit.Pages, visitor.Page{URL: fmt.Sprint("/", i), Signal: "x", At: noon})
			}
		}
	}
	for name, tt := range map[string]struct {
		fill   func(*visitor.Event)
		raw    int
		events int
	}{
		"small, each of another tenant":  {func(*visitor.Event) {}, 300, 1200},
		"many small values":              {rich, 2000, 600},
		"long journeys of short pages":   {pages(200), 4000, 300},
		"payloads that fit their record": {pages(5), 600 << 10, 12},
		"payloads of some size":          {rich, 100 << 10, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wire{}
			o := options(openWire(t, w))
			o.MaxEvents, o.MaxBytes = 150, store.MaxCommit-1
			c := open(t, o)
			var wg sync.WaitGroup
			for i := range tt.events {
				ten := visitor.TenantID(fmt.Sprintf("tenant-%s-%d", strings.Repeat("x", 50), i))
				ev := event(visitor.NewEventID("midbound", ten, "key", i), ten, fmt.Sprint("ada", i), noon)
				tt.fill(ev)
				it := item(ev, append(everything, processor.Count{Name: "seen", N: 1})...)
				it.Raw, it.RawEncoding = make([]byte, tt.raw), "zstd"
				b, err := json.Marshal(ev)
				if err != nil {
					t.Fatal(err)
				}
				it.Bytes = len(b) + base64.StdEncoding.EncodedLen(tt.raw)
				wg.Go(func() {
					if err := c.Add(t.Context(), it); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			st := c.Stats()
			t.Logf("%d events in %d commits; the largest had %d bytes, the longest %d writes", tt.events, w.commits, w.bytes, w.writes)
			if w.bytes > store.MaxCommit || w.writes > store.MaxWrites {
				t.Errorf("a commit of %d bytes, one of %d writes", w.bytes, w.writes)
			}
			if w.bytes < store.MaxCommit/4 && w.writes < 400 {
				t.Errorf("commits are far smaller than they may be: %d bytes, %d writes", w.bytes, w.writes)
			}
			if st.Conflicts != 0 || int(st.Events) != tt.events || int(st.Commits) != w.commits {
				t.Errorf("stats %+v", st)
			}
		})
	}
}
