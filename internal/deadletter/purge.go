package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// PurgeOptions say how dead letters are deleted.
type PurgeOptions struct {
	DryRun   bool
	Operator string // who does it, for the audit record
	Now      func() time.Time
}

// PurgeReport is what was deleted.
type PurgeReport struct {
	AuditID string `json:"audit_id,omitempty"`
	DryRun  bool   `json:"dry_run"`
	Matched int    `json:"matched"`
	Purged  int    `json:"purged"`
}

// Purge deletes dead letters with their payloads, for good. The report of a run that broke off says how far it got.
func Purge(ctx context.Context, s store.Store, sel Selection, o PurgeOptions) (*PurgeReport, error) {
	if o.Now == nil {
		return nil, errors.New("purge: now: required")
	}
	ids, err := sel.resolve(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	rep := &PurgeReport{DryRun: o.DryRun, Matched: len(ids)}
	if o.DryRun {
		return rep, nil
	}
	a := newAudit("purge", o.Operator, sel, o.Now)
	if err := a.begin(ctx, s, len(ids)); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	rep.AuditID = a.id
	for some := range slices.Chunk(ids, chunk) {
		var n int
		if n, err = purge(ctx, s, some); err != nil {
			err = fmt.Errorf("purge: %w", err)
			break
		}
		rep.Purged += n
	}
	return rep, errors.Join(err, a.end(ctx, s, err, store.Fields{{Name: "purged", Value: int64(rep.Purged)}}))
}

// purge deletes some records, each with its parts in the same Commit.
func purge(ctx context.Context, s store.Store, ids []string) (int, error) {
	recs, err := read(ctx, s, ids)
	if err != nil || len(recs) == 0 {
		return 0, err
	}
	var writes []store.Write
	for i := range recs {
		parts, err := partPaths(&recs[i])
		if err != nil {
			return 0, err
		}
		p, err := layout.DeadLetter(recs[i].ID)
		if err != nil {
			return 0, err
		}
		for _, p := range append(parts, p) {
			writes = append(writes, store.Write{Path: p, Delete: true})
		}
	}
	return len(recs), commit(ctx, s, writes)
}

// commit applies writes that may be applied twice, trying again where another try can help.
func commit(ctx context.Context, s store.Store, writes []store.Write) error {
	var err error
	for range maxTries {
		err = s.Commit(ctx, writes)
		if c := code.Of(err); c != code.Conflict && c != code.Unavailable {
			return err
		}
	}
	return err
}
