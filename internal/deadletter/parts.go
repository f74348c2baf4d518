package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

const (
	// maxInline is the largest compressed payload that is kept in the record itself: listing reads whole records,
	// and a page of them has to fit in memory.
	maxInline = 64 << 10
	// partSize is the size of a part in bytes: below a document's limit.
	partSize = 900 << 10
)

// writeParts stores a payload that is too large for the record, before the record: a record whose parts are
// missing is never seen. Parts have deterministic ids and no precondition, so writing them again is harmless.
func writeParts(ctx context.Context, s store.Store, rec *Record) error {
	rec.PayloadParts = 0
	if len(rec.payload) <= maxInline {
		return nil
	}
	for rest := rec.payload; len(rest) > 0; rec.PayloadParts++ {
		p, err := layout.PayloadPart(rec.ID, rec.PayloadParts)
		if err != nil {
			return err
		}
		n := min(len(rest), partSize)
		w := store.Write{Path: p, Fields: store.Fields{
			{Name: "payload", Value: rest[:n]},
			{Name: "expire_at", Value: rec.ExpireAt},
		}}
		if err := s.Commit(ctx, []store.Write{w}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// ErrPayload is returned for a payload that is not there or cannot be decompressed.
var ErrPayload = errors.New("payload of the dead letter is damaged")

// compressed returns the payload as it was parked.
func compressed(ctx context.Context, s store.Store, rec *Record) ([]byte, error) {
	if rec.PayloadParts == 0 {
		return rec.payload, nil
	}
	paths, err := partPaths(rec)
	if err != nil {
		return nil, err
	}
	docs, err := s.Get(ctx, paths)
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	out := make([]byte, 0, rec.PayloadBytes)
	for i := range docs {
		out = append(out, docs[i].Fields.Bytes("payload")...)
	}
	if len(out) != rec.PayloadBytes {
		return nil, ErrPayload
	}
	return out, nil
}

func partPaths(rec *Record) ([]store.Path, error) {
	paths := make([]store.Path, rec.PayloadParts)
	for i := range paths {
		var err error
		if paths[i], err = layout.PayloadPart(rec.ID, i); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
