package visitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Errors of the codec. None of them quotes the event.
var (
	// ErrNewerSchema marks an event of a later major version: the reader is too old, the event is not broken.
	ErrNewerSchema = errors.New("event schema is newer than this reader")
	// ErrMalformed marks an event that no version of the reader will understand.
	ErrMalformed = errors.New("event is malformed")
)

// Validate reports everything that an event must have before it may be published.
func (e *Event) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(e.Schema == Schema, "schema: want "+Schema)
	need(e.Type == TypeVisitorIdentified, "type: want "+TypeVisitorIdentified)
	need(strings.HasPrefix(string(e.ID), "evt_"), "id: want evt_…")
	need(e.Source != "", "source: missing")
	need(e.Origin != "", "origin: missing")
	need(!e.IdentifiedAt.IsZero(), "identified_at: missing")
	need(!e.Receipt.ReceivedAt.IsZero(), "receipt.received_at: missing")
	need(len(e.Visit.Pages) <= MaxPages, "visit.pages: too many")
	if err := e.TenantID.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Encode returns the event as JSON. It is strict: an event that misses a required field is refused with
// [ErrMalformed].
func Encode(e *Event) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: not encodable", ErrMalformed)
	}
	return b, nil
}

// Decode reads an event of this major version. It is tolerant: unknown fields are ignored and optional ones
// may be missing. It returns [ErrNewerSchema] for a later major version and [ErrMalformed] for the rest.
func Decode(b []byte) (*Event, error) {
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		// A later major version may have changed a type, so look at the version alone before judging.
		var v struct {
			Schema string `json:"schema"`
		}
		if json.Unmarshal(b, &v) == nil && NewerSchema(v.Schema) {
			return nil, ErrNewerSchema
		}
		return nil, fmt.Errorf("%w: not an event in JSON", ErrMalformed)
	}
	if err := e.Check(); err != nil {
		return nil, err
	}
	return &e, nil
}

// Check is what a reader insists on, less than [Event.Validate]: a known major version, the ids and the
// receipt time. It returns [ErrNewerSchema] or [ErrMalformed].
func (e *Event) Check() error {
	switch m := major(e.Schema); {
	case m > major(Schema):
		return ErrNewerSchema
	case m < 1:
		return fmt.Errorf("%w: schema missing", ErrMalformed)
	}
	if e.ID == "" || e.Source == "" || e.Receipt.ReceivedAt.IsZero() {
		return fmt.Errorf("%w: id, source or receipt.received_at missing", ErrMalformed)
	}
	if err := e.TenantID.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// NewerSchema reports whether a schema is of a later major version than this package's.
func NewerSchema(schema string) bool { return major(schema) > major(Schema) }

// major returns the major part of "major.minor", 0 when there is none.
func major(schema string) int {
	m, _, _ := strings.Cut(schema, ".")
	n, err := strconv.Atoi(m)
	if err != nil {
		return 0
	}
	return n
}

// Day is the event's usage day, the UTC day of its first receipt, YYYY-MM-DD.
func (e *Event) Day() string { return e.Receipt.ReceivedAt.UTC().Format(time.DateOnly) }

// Month is the event's usage period, the UTC month of its first receipt, YYYY-MM.
func (e *Event) Month() string { return e.Receipt.ReceivedAt.UTC().Format("2006-01") }
