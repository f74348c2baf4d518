// Package processor is the SDK for writing processors: what a tenant has done to each event.
//
// A processor describes itself, is configured once per tenant, and turns one event into declarative effects.
// It may run more than once for an event and never sees stored state, so it must not cause effects of its
// own: usher commits what it asks for exactly once, atomically with the event's record.
package processor

import (
	"context"

	"github.com/usherhq/usher/consumer/visitor"
)

// Processor is a kind of processing that tenants can have in their chain. Implementations are safe for
// concurrent use.
type Processor interface {
	// Register describes the processor: its name, its settings, what it is for.
	Register() Registration
	// Configure binds one tenant's settings, already checked against the registration and completed with
	// defaults. It is called once per tenant and change of settings, not per event.
	Configure(s Settings) (Handler, error)
}

// Handler processes the events of one tenant. It is called concurrently.
type Handler interface {
	// Process returns what is to be done for the event. It must not change the event. An error made with
	// [Permanent] parks the event; any other error has it tried again later.
	Process(ctx context.Context, ev *visitor.Event) (Result, error)
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, ev *visitor.Event) (Result, error)

// Process calls f.
func (f HandlerFunc) Process(ctx context.Context, ev *visitor.Event) (Result, error) {
	return f(ctx, ev)
}

// Result is what a handler decided.
type Result struct {
	// Effects are committed together with those of the rest of the chain, or not at all.
	Effects []Effect
	// Stop ends the chain: later processors do not see the event. Effects so far are committed.
	Stop bool
}

// Effect is one declarative effect. The set is closed; an effect is carried out exactly once per event.
// Any effect makes usher keep the event's record, if only its bare id, since that is what makes it happen once.
type Effect interface{ effect() }

// When restricts an effect.
type When uint8

// The conditions, which are known only at commit.
const (
	Always       When = iota
	IfFirstMatch      // only for the event that created its visitor
)

// Record stores the event as an identification.
type Record struct{}

// MergeVisitor merges the event into its visitor's profile, creating the visitor on first match. Without an
// identifier in the event it does nothing.
type MergeVisitor struct{}

// Meter counts the event in the tenant's usage.
type Meter struct{}

// AddScore adds points to a named score of the visitor. Without a visitor it does nothing.
type AddScore struct {
	Name   string // a short name of letters, digits and '_'
	Points int64
}

// Count adds to a named counter in the tenant's usage, under custom.
type Count struct {
	Name string // a short name of letters, digits and '_'
	N    int64
	When When
}

func (Record) effect()       {}
func (MergeVisitor) effect() {}
func (Meter) effect()        {}
func (AddScore) effect()     {}
func (Count) effect()        {}
