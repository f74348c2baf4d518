package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// ops are operations of the store.
type ops struct {
	Commits   int64 `json:"commits"` // that were applied
	Refused   int64 `json:"refused"` // and that were not, as far as is known
	Records   int64 `json:"record_writes"`
	Profiles  int64 `json:"profile_writes"`
	Counters  int64 `json:"counter_writes"`
	Reads     int64 `json:"reads"` // of records and profiles
	TenantOps int64 `json:"tenant_reads"`
}

func (o ops) minus(p ops) ops {
	return ops{
		o.Commits - p.Commits, o.Refused - p.Refused, o.Records - p.Records, o.Profiles - p.Profiles,
		o.Counters - p.Counters, o.Reads - p.Reads, o.TenantOps - p.TenantOps,
	}
}

// meter is a store that counts its operations and tells which events it has stored.
type meter struct {
	store.Store
	stored func(event string, at time.Time) // nil for nobody who listens

	commits, refused, records, profiles, counters, reads, tenants atomic.Int64
}

// Commit implements [store.Store].
func (m *meter) Commit(ctx context.Context, writes []store.Write) error {
	if err := m.Store.Commit(ctx, writes); err != nil {
		m.refused.Add(1)
		return err
	}
	at := time.Now()
	m.commits.Add(1)
	for i := range writes {
		switch p := writes[i].Path; collection(p) {
		case layout.Identifications:
			m.records.Add(1)
			if m.stored != nil {
				m.stored(p.ID(), at)
			}
		case layout.Visitors:
			m.profiles.Add(1)
		case layout.UsageShards:
			m.counters.Add(1)
		}
	}
	return nil
}

// Get implements [store.Store]. What it finds was stored at the latest now: after a Commit whose answer was lost
// this is how the committer, too, hears of it.
func (m *meter) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	docs, err := m.Store.Get(ctx, paths)
	at := time.Now()
	for i, p := range paths {
		switch collection(p) {
		case layout.Identifications:
			m.reads.Add(1)
			if err == nil && docs[i].Exists && m.stored != nil {
				m.stored(p.ID(), at)
			}
		case layout.Visitors:
			m.reads.Add(1)
		case layout.Tenants:
			m.tenants.Add(1)
		}
	}
	return docs, err
}

func collection(p store.Path) string { return p.Parent().ID() }

func (m *meter) ops() ops {
	return ops{
		m.commits.Load(), m.refused.Load(), m.records.Load(), m.profiles.Load(), m.counters.Load(), m.reads.Load(), m.tenants.Load(),
	}
}
