package commit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

// large is an item whose raw payload is n incompressible bytes.
func large(n int) *commit.Item {
	it := item(event("evt_large", "t1", "ada", noon))
	it.Raw, it.RawEncoding = make([]byte, n), "zstd"
	r := rand.New(rand.NewPCG(1, 2))
	for i := range it.Raw {
		it.Raw[i] = byte(r.Uint32())
	}
	it.Bytes = 2000 + n/3*4
	return it
}

// storedRaw joins the raw payload of a record from its parts.
func storedRaw(t *testing.T, s store.Store, d store.Doc) []byte {
	t.Helper()
	n := int(d.Fields.Int("raw_parts"))
	if n == 0 {
		return d.Fields.Bytes("raw")
	}
	var raw []byte
	for i := range n {
		p, err := layout.RawPart("t1", "evt_large", d.Fields.Text("raw_key"), i)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := s.Get(t.Context(), []store.Path{p})
		if err != nil || !docs[0].Exists || docs[0].Fields.Time("expire_at").IsZero() {
			t.Fatalf("part %d: %+v, %v", i, docs, err)
		}
		raw = append(raw, docs[0].Fields.Bytes("payload")...)
	}
	return raw
}

func TestLargePayloads(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ bytes, parts int }{
		"fits the record":  {900 << 10, 0},
		"a little more":    {900<<10 + 1, 2},
		"exactly two":      {1800 << 10, 2},
		"4 MiB, as posted": {4 << 20, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New(memstore.Options{})
			c := open(t, options(s))
			it := large(tt.bytes)
			if res := add(t, c, it); res.Duplicate || !res.FirstMatch {
				t.Errorf("result %+v", res)
			}
			docs := records(t, s, "t1")
			if len(docs) != 1 || docs[0].Fields.Int("raw_parts") != int64(tt.parts) || docs[0].Fields.Text("raw_encoding") != "zstd" {
				t.Fatalf("%d records, %d parts", len(docs), docs[0].Fields.Int("raw_parts"))
			}
			if !bytes.Equal(storedRaw(t, s, docs[0]), it.Raw) {
				t.Error("what is stored is not what was sent")
			}
			if res := add(t, open(t, options(s)), large(tt.bytes)); !res.Duplicate {
				t.Errorf("again: %+v", res)
			}
		})
	}
}

// TestPayloadBesideItsEvent: a raw payload that would fit a record of its own, but not beside its event.
func TestPayloadBesideItsEvent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ raw, event, parts int }{
		"fits":        {800 << 10, 100 << 10, 0},
		"does not":    {800 << 10, 250 << 10, 1},
		"large event": {600 << 10, 450 << 10, 1},
		"small raw":   {60 << 10, 500 << 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New(memstore.Options{})
			it := large(tt.raw)
			for range tt.event / 1000 {
				it.Event.Visit.Pages = append(it.Event.Visit.Pages, visitor.Page{URL: strings.Repeat("x", 990)})
			}
			it.Bytes += tt.event
			add(t, open(t, options(s)), it)
			d := records(t, s, "t1")[0]
			if got := int(d.Fields.Int("raw_parts")); got != tt.parts || !bytes.Equal(storedRaw(t, s, d), it.Raw) {
				t.Errorf("%d parts, want %d", got, tt.parts)
			}
		})
	}
}

// TestHugeTexts: an event that no document can hold is stored with its texts cut; the caller's is left as it is.
func TestHugeTexts(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	c := open(t, options(s))
	it := large(3 << 20)
	ev := it.Event
	ev.Person.Title = strings.Repeat("é", 1<<20) + "x"
	ev.Company.Name = "x" + strings.Repeat("é", 300)
	for range visitor.MaxPages {
		ev.Visit.Pages = append(ev.Visit.Pages, visitor.Page{URL: strings.Repeat("u", 5000), Title: strings.Repeat("t", 5000)})
	}
	ev.Attribution.CustomAttributes = map[string]any{"a": strings.Repeat("x", 100<<10)}
	ev.Attribution.ExtraOptions = map[string]any{"a": "b"}
	b, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	it.JSON = b // as the daemon has it
	it.Bytes += len(b)
	if res := add(t, c, it); !res.FirstMatch {
		t.Errorf("result %+v", res)
	}
	d := records(t, s, "t1")[0]
	got := profile.LoadIdentification(d).Event
	if got.Person.Title != strings.Repeat("é", 512) || got.Company.Name != ev.Company.Name || len(got.Visit.Pages) != visitor.MaxPages ||
		len(got.Visit.Pages[9].URL) != 1024 || got.Attribution.CustomAttributes != nil || len(got.Attribution.ExtraOptions) != 1 {
		t.Errorf("title of %d bytes, company of %d, %d pages", len(got.Person.Title), len(got.Company.Name), len(got.Visit.Pages))
	}
	if len(ev.Person.Title) != 2<<20+1 || !bytes.Equal(storedRaw(t, s, d), it.Raw) {
		t.Error("what was handed over is not whole")
	}
	if v := visitors(t, s, "t1")[ev.VisitorID]; v == nil || len(v.Person.Title) != 1024 {
		t.Error("the profile lacks the event")
	}
	again := large(3 << 20)
	if res := add(t, open(t, options(s)), again); !res.Duplicate {
		t.Errorf("again: %+v", res)
	}
}

// TestHugeLists: so is one with more elements than fit, and one that is still too large with its texts cut.
func TestHugeLists(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	ev := event("evt_large", "t1", "ada", noon)
	for i := range 40_000 {
		ev.Person.Emails = append(ev.Person.Emails, visitor.Email{Address: fmt.Sprintf("ada%d@example.com", i)})
	}
	for range visitor.MaxPages {
		ev.Visit.Pages = append(ev.Visit.Pages, visitor.Page{URL: strings.Repeat("&", 4000), Title: strings.Repeat("<", 4000)})
	}
	ev.Session.VendorVisitor = strings.Repeat("v", 500)
	ev.VisitorID = ev.Visitor()
	it := item(ev)
	b, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	it.JSON, it.Bytes = b, len(b)
	if res := add(t, open(t, options(s)), it); !res.FirstMatch || res.ID != ev.ID {
		t.Errorf("result %+v", res)
	}
	got := profile.LoadIdentification(records(t, s, "t1")[0]).Event
	if got.VisitorID != ev.VisitorID || len(got.Person.Emails) != 200 || len(got.Visit.Pages[0].URL) != 256 {
		t.Errorf("%d addresses, a page of %d bytes", len(got.Person.Emails), len(got.Visit.Pages[0].URL))
	}
}

// TestVisitorStaysSmall: what a visitor's events add up to fits its document.
func TestVisitorStaysSmall(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	c := open(t, options(s))
	big := strings.Repeat("x", 400<<10)
	for i, change := range []func(*visitor.Event){
		func(ev *visitor.Event) { ev.Person.Title = big },
		func(ev *visitor.Event) { ev.Company.Name = big },
		func(ev *visitor.Event) { ev.Attribution.CustomAttributes = map[string]any{"a": []any{big}} },
		func(ev *visitor.Event) { ev.Person.Emails[0].Validity = big },
		func(ev *visitor.Event) { ev.Person.Phones = []visitor.Phone{{Number: big}, {Number: "1", Kind: big}} },
	} {
		ev := event(visitor.EventID(fmt.Sprint("evt_", i)), "t1", "ada", noon)
		change(ev)
		it := item(ev)
		it.Bytes = len(big)
		add(t, c, it)
	}
	if n := len(visitors(t, s, "t1")); n != 1 {
		t.Errorf("%d visitors", n)
	}
}

// TestPartsBelongToTheirRecord: a vendor's retry may differ in bytes, such as the time of the attempt. It is a
// duplicate, or a later occurrence, and leaves the first one's payload whole.
func TestPartsBelongToTheirRecord(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{10 * time.Second, 25 * time.Hour} {
		s := memstore.New(memstore.Options{})
		deliver := func(bytes int, after time.Duration) *commit.Item {
			it := large(bytes)
			it.Event = body(after)
			it.Event.ID = "evt_large"
			it.Event.VisitorID, it.Event.Person.Emails = "", nil // nothing but the record tells
			add(t, open(t, options(s)), it)
			return it
		}
		first := deliver(2<<20, 0)
		if again := deliver(1<<20, after); again.Result.Duplicate != (after < time.Hour) {
			t.Errorf("after %v: %+v", after, again.Result)
		}
		for _, d := range records(t, s, "t1") {
			if d.Path.ID() == "evt_large" && !bytes.Equal(storedRaw(t, s, d), first.Raw) {
				t.Errorf("after %v: the payload of the first is damaged", after)
			}
		}
	}
}

// TestManyLargePayloads: a batch writes no more parts than its time allows, however many large payloads come together.
func TestManyLargePayloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := options(memstore.New(memstore.Options{CommitDelay: 100 * time.Millisecond}))
		o.Timeout = 3500 * time.Millisecond
		var items []*commit.Item
		for i := range 25 { // what may be outstanding
			it := large(901 << 10)
			it.Event = event(visitor.EventID(fmt.Sprint("evt_", i)), "t1", fmt.Sprint("ada", i), noon)
			items = append(items, it)
		}
		noErrors(t, together(t, open(t, o), items...))
	})
}

// TestPartsComeFirst: while a part cannot be stored there is no record, and nothing is counted.
func TestPartsComeFirst(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		s.before = func(_ int, w []store.Write) error {
			if touches(w, "-0001") {
				return code.New(code.Denied, "commit", nil)
			}
			return nil
		}
		if err := c.Add(t.Context(), large(2<<20)); code.Of(err) != code.Denied {
			t.Errorf("Add: %v", err)
		}
		if n := len(records(t, s, "t1")); n != 0 || month(t, s, "t1").Events != 0 {
			t.Errorf("%d records, usage %+v", n, month(t, s, "t1"))
		}
		s.before = nil
		add(t, c, large(2<<20))
		if n := len(records(t, s, "t1")); n != 1 || month(t, s, "t1").Events != 1 {
			t.Errorf("%d records, usage %+v", n, month(t, s, "t1"))
		}
	})
}

// meeting is a store where the first commit of a record waits for the second to arrive and then comes through first.
type meeting struct {
	store.Store
	records             atomic.Int64
	first, second, gone chan struct{} // closed when they have arrived, and when the first is through
}

func (m *meeting) Commit(ctx context.Context, w []store.Write) error {
	if touches(w, "raw_parts/") {
		return m.Store.Commit(ctx, w)
	}
	switch m.records.Add(1) {
	case 1:
		close(m.first)
		<-m.second
		defer close(m.gone)
	case 2:
		close(m.second)
		<-m.gone
	}
	return m.Store.Commit(ctx, w)
}

// TestPartsOfTwoProcesses: two deliveries of one event that differ in bytes come to two processes at once. The one that
// is stored has its own payload, though the other's parts were written after its own.
func TestPartsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	s := &meeting{
		Store: memstore.New(memstore.Options{}),
		first: make(chan struct{}), second: make(chan struct{}), gone: make(chan struct{}),
	}
	stored, other := large(2<<20), large(2<<20+100<<10)
	errs := make([]error, 2)
	var all sync.WaitGroup
	one, two := open(t, options(s)), open(t, options(s))
	all.Go(func() { errs[0] = one.Add(context.Background(), stored) })
	<-s.first
	all.Go(func() { errs[1] = two.Add(context.Background(), other) })
	all.Wait()
	noErrors(t, errs)
	docs := records(t, s, "t1")
	if len(docs) != 1 || stored.Result.Duplicate || !other.Result.Duplicate {
		t.Fatalf("%d records, results %+v and %+v", len(docs), stored.Result, other.Result)
	}
	if !bytes.Equal(storedRaw(t, s, docs[0]), stored.Raw) {
		t.Error("the stored payload is not the stored event's")
	}
}
