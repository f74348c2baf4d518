package profile

import (
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/fields"
	"github.com/usherhq/usher/internal/store"
)

// Record is what an identification is made of.
type Record struct {
	Event       *visitor.Event
	Raw         []byte // compressed
	RawEncoding string
	RawParts    int // documents that hold the raw payload instead, below the identification
	FirstMatch  bool
	ProcessedAt time.Time
	ExpireAt    time.Time
	// Bare keeps nothing but what makes the event count once: no processor asked for the record itself.
	Bare bool
}

// Fields returns the identification's document: what is queried as fields of its own, the event as a map,
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
		store.Field{Name: "event", Value: eventFields(ev)},
	)
	switch {
	case r.RawParts > 0:
		f = append(f, store.Field{Name: "raw_parts", Value: int64(r.RawParts)}, store.Field{Name: "raw_encoding", Value: r.RawEncoding})
	case len(r.Raw) > 0:
		f = append(f, store.Field{Name: "raw", Value: r.Raw}, store.Field{Name: "raw_encoding", Value: r.RawEncoding})
	}
	return f
}

// eventFields is the event without what the document says already.
func eventFields(ev *visitor.Event) store.Fields {
	all := fields.Encode(ev)
	out := all[:0]
	for _, f := range all {
		switch f.Name {
		case "id", "tenant_id", "visitor_id", "source", "source_event_id", "identified_at":
		default:
			out = append(out, f)
		}
	}
	return out
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
	fields.Decode(d.Fields.Map("event"), &s.Event)
	fields.Decode(d.Fields, &s.Event)
	s.Event.ID = s.ID
	s.Event.Receipt.ReceivedAt = ReceivedAt(d)
	return s
}

// ReceivedAt is the first receipt of a stored identification.
func ReceivedAt(d store.Doc) time.Time { return d.Fields.Time("received_at") }
