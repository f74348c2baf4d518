// Package code is the closed set of error codes that drivers of outside systems return and that usher acts on.
package code

import (
	"context"
	"errors"
)

// Code classifies an error. Callers act on codes, never on texts.
type Code uint8

// The codes. The comment says what they mean for an atomic commit or a publish.
const (
	OK          Code = iota
	Conflict         // nothing was written: a precondition failed or a concurrent write won; read again, then retry
	Invalid          // nothing was written: the request itself is refused and always will be
	TooLarge         // as Invalid, for size
	NotFound         // a database, topic or subscription is missing
	Denied           // permission or credentials
	Unavailable      // it may or may not have been applied; the same call again is right
	Internal         // as Unavailable, but the request itself may be to blame
	Canceled         // the caller's context ended; it may or may not have been applied
	Unknown          // an error that no driver classified
)

var names = [...]string{"ok", "conflict", "invalid", "too_large", "not_found", "denied", "unavailable", "internal", "canceled", "unknown"}

// String returns the code's name as used in logs and metrics.
func (c Code) String() string { return names[c] }

// Error is a classified error. Its text holds no payload.
type Error struct {
	Code Code
	Op   string // what was tried, such as "commit"
	Err  error  // nil, or what the outside system said when that is free of payload
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Code.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// New returns a classified error.
func New(c Code, op string, err error) error { return &Error{c, op, err} }

// Of returns the code of err: OK for nil, Canceled for an ended context, Unknown when nobody classified it.
func Of(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	}
	return Unknown
}
