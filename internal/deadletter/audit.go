package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// audit is the record of one run: written before anything is done, completed at its end.
type audit struct {
	id     string
	now    func() time.Time
	fields store.Fields
}

func newAudit(action, operator string, sel Selection, now func() time.Time) *audit {
	f := sel.Filter
	filter := store.Fields{}
	for _, c := range f.equals() {
		filter = append(filter, store.Field{Name: c.Field, Value: c.Value})
	}
	for name, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			filter = append(filter, store.Field{Name: name, Value: t.UTC()})
		}
	}
	return &audit{ulid.Make().String(), now, store.Fields{
		{Name: "action", Value: action},
		{Name: "operator", Value: clip(operator)},
		{Name: "filter", Value: filter},
		{Name: "ids", Value: int64(len(sel.IDs))},
	}}
}

// begin writes the record: what is not on record is not done.
func (a *audit) begin(ctx context.Context, s store.Store, matched int) error {
	return a.write(ctx, s, append(a.fields,
		store.Field{Name: "matched", Value: int64(matched)},
		store.Field{Name: "started_at", Value: settle(a.now())},
		store.Field{Name: "outcome", Value: "running"},
	))
}

// end completes the record, even of a run that was broken off.
func (a *audit) end(ctx context.Context, s store.Store, err error, counts store.Fields) error {
	outcome := "done"
	if err != nil {
		outcome = "broken_off"
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), markTimeout, errMark)
	defer cancel()
	return a.write(ctx, s, append(counts,
		store.Field{Name: "finished_at", Value: settle(a.now())},
		store.Field{Name: "outcome", Value: outcome},
	))
}

func (a *audit) write(ctx context.Context, s store.Store, f store.Fields) error {
	p, err := layout.AuditRecord(a.id)
	if err != nil {
		return err
	}
	if err := commit(ctx, s, []store.Write{{Path: p, Merge: true, Fields: f}}); err != nil {
		return fmt.Errorf("audit record: %w", err)
	}
	return nil
}
