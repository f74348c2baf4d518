// Package store is the contract of the document store: what usher needs of Firestore and no more.
//
// Two drivers keep it: gcpfirestore and the memory twin memstore. Both are held to the storetest suite.
package store

import (
	"context"
	"time"
)

// Store reads and writes documents. Implementations are safe for concurrent use. Errors carry a code of
// package code.
type Store interface {
	// Commit applies all writes or none, in order. It returns code.Conflict when a precondition failed or
	// another write won, in which case nothing was written; code.Invalid or code.TooLarge when a write can
	// never succeed; code.Unavailable or code.Internal when the outcome is unknown.
	Commit(ctx context.Context, writes []Write) error
	// Get reads documents, in the order of paths; a missing one has Exists false. Paths may repeat.
	Get(ctx context.Context, paths []Path) ([]Doc, error)
	// Query lists documents of one collection.
	Query(ctx context.Context, q Query) ([]Doc, error)
	// Close releases connections.
	Close() error
}

// Doc is a document as read. Callers must not change Fields.
type Doc struct {
	Path    Path
	Exists  bool
	Fields  Fields
	Version Version
}

// Version identifies one state of a document, for [Write.IfVersion]. It is not a wall clock.
type Version time.Time

// IsZero reports whether there is no version.
func (v Version) IsZero() bool { return time.Time(v).IsZero() }

// Write is one change of one document. Without Delete and with neither Fields nor Add it is refused.
type Write struct {
	Path Path
	// Delete removes the document; a missing one is no error.
	Delete bool
	// Fields replace the document, or with Merge only the fields named by them.
	Fields Fields
	// Merge keeps what Fields does not name. Top-level fields are replaced whole; the document is created
	// when it is missing.
	Merge bool
	// Add adds to numeric fields, after Fields; missing ones start at 0 and a missing document is created.
	// A write with Add and no Fields changes nothing else.
	Add []Increment
	// IfMissing is the precondition that the document does not exist.
	IfMissing bool
	// IfVersion is the precondition that the document is in this state.
	IfVersion Version
}

// Increment adds N to the number at a field path.
type Increment struct {
	Field []string // path segments, outermost first; any text
	N     int64
}

// Query lists the documents of one collection that pass all filters.
type Query struct {
	Collection Path // a collection path
	Where      []Filter
	OrderBy    string // a top-level field; "" orders by document id
	Descending bool   // only with OrderBy: Firestore does not scan ids backwards
	// After continues behind a document of an earlier page (its path, and its OrderBy value when ordered).
	After *Doc
	Limit int // required, 1 to 1,000
}

// Op compares a top-level field with a value.
type Op string

// The operators.
const (
	Equal         Op = "=="
	ArrayContains Op = "array-contains"
)

// Filter is one condition.
type Filter struct {
	Field string
	Op    Op
	Value any
}

// MarshalBinary encodes the version for another process.
func (v Version) MarshalBinary() ([]byte, error) { return time.Time(v).MarshalBinary() }

// UnmarshalBinary undoes MarshalBinary.
func (v *Version) UnmarshalBinary(b []byte) error { return (*time.Time)(v).UnmarshalBinary(b) }
