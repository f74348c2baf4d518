package deadletter

import (
	"context"
	"fmt"
	"slices"

	"github.com/usherhq/usher/internal/store"
)

// Selection names dead letters by id or, without ids, by a filter.
type Selection struct {
	IDs    []string
	Filter Filter
}

// chunk is how many records are worked on at a time: a payload can have megabytes.
const chunk = 20

// resolve returns the ids that are meant now. What is parked while they are worked on is not among them, so a run
// ends even when everything it puts back is parked again. Each named id must be stored: [ErrNotFound].
func (sel *Selection) resolve(ctx context.Context, s store.Store) ([]string, error) {
	if len(sel.IDs) > 0 {
		ids := slices.Compact(slices.Sorted(slices.Values(sel.IDs)))
		for _, id := range ids {
			if _, err := Get(ctx, s, id); err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
		}
		return ids, nil
	}
	var ids []string
	var after Cursor
	for {
		page, next, err := List(ctx, s, sel.Filter, after, MaxPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			ids = append(ids, page[i].ID)
		}
		if next == (Cursor{}) {
			return ids, nil
		}
		after = next
	}
}
