package profile

import (
	"encoding/json"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/fields"
	"github.com/usherhq/usher/internal/store"
)

// Record is what an identification is made of.
type Record struct {
	Event       *visitor.Event
	JSON        []byte // of Event, as it was sent; nil makes it anew
	Raw         []byte // compressed
	RawEncoding string
	RawParts    int    // documents that hold the raw payload instead, below the identification
	RawKey      string // names those documents
	FirstMatch  bool
	ProcessedAt time.Time
	ExpireAt    time.Time
	// Bare keeps nothing but what makes the event count once: no processor asked for the record itself.
	Bare bool
}

// Fields returns the identification's document: what is queried as fields of its own, the event as JSON,
// the raw payload as compressed bytes.
func (r *Record) Fields() store.Fields {
	ev := r.Event
	f := make(store.Fields, 0, 20)
	text := func(name, v string) {
		if v != "" {
			f = append(f, store.Field{Name: name, Value: v})
		}
	}
	text("tenant_id", string(ev.TenantID))
	text("source", ev.Source)
	f = append(f,
		store.Field{Name: "received_at", Value: ev.Receipt.ReceivedAt},
		store.Field{Name: "processed_at", Value: r.ProcessedAt},
		store.Field{Name: "period", Value: ev.Day()},
		store.Field{Name: "first_match", Value: r.FirstMatch},
		store.Field{Name: "expire_at", Value: r.ExpireAt},
	)
	if r.Bare {
		return f
	}
	text("source_event_id", ev.SourceEventID)
	text("visitor_id", string(ev.VisitorID))
	text("page_id", ev.Attribution.PageID)
	text("campaign_id", ev.Attribution.CampaignID)
	f = append(f,
		store.Field{Name: "identified_at", Value: ev.IdentifiedAt},
		store.Field{Name: "event", Value: r.text()},
	)
	switch {
	case r.RawParts > 0:
		f = append(f, store.Field{Name: "raw_parts", Value: int64(r.RawParts)})
		text("raw_key", r.RawKey)
		text("raw_encoding", r.RawEncoding)
	case len(r.Raw) > 0:
		f = append(f, store.Field{Name: "raw", Value: r.Raw}, store.Field{Name: "raw_encoding", Value: r.RawEncoding})
	}
	return f
}

// text is the event as JSON. As a map in the store it would have to be taken apart and put together again by all who
// handle it, and it is never changed or queried.
func (r *Record) text() string {
	if len(r.JSON) > 0 {
		return string(r.JSON)
	}
	b, err := json.Marshal(r.Event)
	if err != nil {
		panic("profile: event is not JSON") // impossible: it came as JSON
	}
	return string(b)
}

// Stored is an identification as read.
type Stored struct {
	ID         visitor.EventID `json:"id"`
	FirstMatch bool            `json:"first_match"`
	Period     string          `json:"period"`
	Event      visitor.Event   `json:"event"`
}

// LoadIdentification reads an identification's document.
func LoadIdentification(d store.Doc) Stored {
	s := Stored{
		ID:         visitor.EventID(d.Path.ID()),
		FirstMatch: d.Fields.Bool("first_match"),
		Period:     d.Fields.Text("period"),
	}
	// Read as the daemon read it. What is damaged is left out, and the document's fields have the last word: a later
	// occurrence of a body has an id of its own.
	_ = jsonv2.Unmarshal([]byte(d.Fields.Text("event")), &s.Event)
	fields.Decode(d.Fields, &s.Event)
	s.Event.ID = s.ID
	s.Event.Receipt.ReceivedAt = ReceivedAt(d)
	return s
}

// ReceivedAt is the first receipt of a stored identification.
func ReceivedAt(d store.Doc) time.Time { return d.Fields.Time("received_at") }
