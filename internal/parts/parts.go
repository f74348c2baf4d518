// Package parts keeps a payload that is too large for one document in documents of its own.
package parts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/internal/store"
)

// Size is the size of a part in bytes, below a document's limit.
const Size = 900 << 10

// ErrDamaged is returned for a payload of which something is missing.
var ErrDamaged = errors.New("payload is damaged")

// Place names the document of a part, counted from 0.
type Place func(part int) (store.Path, error)

// Write stores a payload in parts that expire at a time, and returns how many there are. They have no precondition, so
// writing them again is harmless. Write them before the record that they belong to: then none is ever seen
// whose parts are missing.
func Write(ctx context.Context, s store.Store, at Place, payload []byte, expire time.Time) (int, error) {
	n := 0
	for ; len(payload) > 0; n++ {
		p, err := at(n)
		if err != nil {
			return n, err
		}
		size := min(len(payload), Size)
		w := store.Write{Path: p, Fields: store.Fields{
			{Name: "payload", Value: payload[:size]},
			{Name: "expire_at", Value: expire},
		}}
		if err := s.Commit(ctx, []store.Write{w}); err != nil {
			return n, err
		}
		payload = payload[size:]
	}
	return n, nil
}

// Read returns the payload of so many bytes in n parts, or [ErrDamaged].
func Read(ctx context.Context, s store.Store, at Place, n, size int) ([]byte, error) {
	paths, err := Paths(at, n)
	if err != nil {
		return nil, err
	}
	docs, err := s.Get(ctx, paths)
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	out := make([]byte, 0, size)
	for i := range docs {
		out = append(out, docs[i].Fields.Bytes("payload")...)
	}
	if len(out) != size {
		return nil, ErrDamaged
	}
	return out, nil
}

// Paths are the documents of n parts.
func Paths(at Place, n int) ([]store.Path, error) {
	paths := make([]store.Path, n)
	for i := range paths {
		var err error
		if paths[i], err = at(i); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
