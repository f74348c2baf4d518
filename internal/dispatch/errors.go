package dispatch

import (
	"errors"
	"fmt"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/resolve"
)

// messageError is about this message alone: it is parked. Conflicts never get here, the committer resolves
// them; every other error is one of a system or says that it is too early, and the message is tried again.
type messageError struct {
	reason envelope.Reason
	err    error
}

func (e *messageError) Error() string { return string(e.reason) + ": " + e.err.Error() }
func (e *messageError) Unwrap() error { return e.err }

// park makes a message error.
func park(r envelope.Reason, err error) error { return &messageError{r, err} }

// processorError is what a processor returned. It is about one tenant's event, whatever it wraps: a
// processor's trouble never closes the gate for the others.
type processorError struct {
	name string
	err  error
}

func (e *processorError) Error() string { return fmt.Sprintf("processor %q: %v", e.name, e.err) }
func (e *processorError) Unwrap() error { return e.err }

// errTooEarly marks a message that is nacked without anything being wrong: it may be in order soon.
var errTooEarly = errors.New("tenant is not known yet")

// verdict is what an error means for a message.
type verdict uint8

const (
	verdictPark verdict = iota // message: to the dead letters
	verdictNack                // system, for this message only: another try later, perhaps by another process
	verdictHold                // system, for everything: wait at the gate, then try again
)

// judge sorts an error into its kind. It is the only place where that is decided.
func judge(err error) (verdict, envelope.Reason) {
	var m *messageError
	var r *resolve.Error
	var p *processorError
	switch {
	case errors.As(err, &p) && processor.IsPermanent(p.err):
		return verdictPark, envelope.ReasonProcessor
	case p != nil:
		return verdictNack, ""
	case errors.As(err, &m):
		return verdictPark, m.reason
	case errors.As(err, &r):
		return verdictPark, r.Reason
	case errors.Is(err, visitor.ErrNewerSchema), errors.Is(err, errTooEarly), errors.Is(err, processor.ErrUnknown):
		return verdictNack, ""
	case errors.Is(err, visitor.ErrMalformed):
		return verdictPark, envelope.ReasonUndecodable
	}
	switch code.Of(err) {
	case code.Invalid:
		return verdictPark, envelope.ReasonStoreRefused
	case code.TooLarge:
		return verdictPark, envelope.ReasonTooLarge
	case code.Unavailable, code.Internal, code.Denied, code.NotFound:
		return verdictHold, ""
	}
	return verdictNack, ""
}

// unknownTenant turns the directory's answer into a message error.
func unknownTenant(err error) error {
	if errors.Is(err, directory.ErrNotFound) {
		return park(envelope.ReasonUnknownTenant, err)
	}
	return fmt.Errorf("look tenant up: %w", err)
}
