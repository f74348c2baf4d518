package profile

import (
	"testing"

	"github.com/usherhq/usher/consumer/processor/processortest"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
)

// known is the document of a visitor after three events.
func known() store.Doc {
	v := Load(store.Doc{})
	for _, id := range []visitor.EventID{"evt_1", "evt_2", "evt_3"} {
		v.Merge(processortest.Event(), id)
	}
	return store.Doc{Path: "tenants/acme/visitors/vis_1", Exists: true, Fields: v.Fields(day)}
}

// BenchmarkVisitor is what one further event of a known visitor costs: reading the profile, merging, writing it.
func BenchmarkVisitor(b *testing.B) {
	doc, ev := known(), processortest.Event()
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Load(doc)
		}
	})
	b.Run("merge", func(b *testing.B) {
		b.ReportAllocs()
		v := Load(doc)
		for b.Loop() {
			v.Merge(ev, "evt_4")
		}
	})
	b.Run("fields", func(b *testing.B) {
		b.ReportAllocs()
		v := Load(doc)
		for b.Loop() {
			v.Fields(day)
		}
	})
}

// BenchmarkRecord is what making an event's identification costs.
func BenchmarkRecord(b *testing.B) {
	json, err := visitor.Encode(processortest.Event())
	if err != nil {
		b.Fatal(err)
	}
	r := Record{Event: processortest.Event(), JSON: json, Raw: make([]byte, 500), RawEncoding: "zstd", ProcessedAt: day, ExpireAt: day}
	b.ReportAllocs()
	for b.Loop() {
		r.Fields()
	}
}
