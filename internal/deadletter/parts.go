package deadletter

import (
	"context"
	"errors"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/parts"
	"github.com/usherhq/usher/internal/store"
)

// maxInline is the largest compressed payload that is kept in the record itself: listing reads whole records,
// and a page of them has to fit in memory.
const maxInline = 64 << 10

// part is where a part of the record's payload is.
func (r *Record) part(i int) (store.Path, error) { return layout.PayloadPart(r.ID, i) }

// writeParts stores a payload that is too large for the record, before the record. Parts have deterministic ids.
func writeParts(ctx context.Context, s store.Store, rec *Record) (err error) {
	rec.PayloadParts = 0
	if len(rec.payload) > maxInline {
		rec.PayloadParts, err = parts.Write(ctx, s, rec.part, rec.payload, rec.ExpireAt)
	}
	return err
}

// ErrPayload is returned for a payload that is not there or cannot be decompressed.
var ErrPayload = errors.New("payload of the dead letter is damaged")

// compressed returns the payload as it was parked.
func compressed(ctx context.Context, s store.Store, rec *Record) ([]byte, error) {
	if rec.PayloadParts == 0 {
		return rec.payload, nil
	}
	b, err := parts.Read(ctx, s, rec.part, rec.PayloadParts, rec.PayloadBytes)
	if errors.Is(err, parts.ErrDamaged) {
		return nil, ErrPayload
	}
	return b, err
}

func partPaths(rec *Record) ([]store.Path, error) { return parts.Paths(rec.part, rec.PayloadParts) }
