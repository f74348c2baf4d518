package envelope

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/queue"
)

// Class says who can mend a dead letter: the platform, or the tenant's settings.
type Class string

// The classes.
const (
	ClassPipeline Class = "pipeline"
	ClassTenant   Class = "tenant"
)

// Reason is why something was parked.
type Reason string

// The reasons. Each belongs to one class.
const (
	ReasonUndecodable     Reason = "undecodable"      // neither an event nor a cookbook message
	ReasonTooLarge        Reason = "too_large"        // over what the store takes
	ReasonForbiddenID     Reason = "forbidden_id"     // an id that cannot be a path segment
	ReasonStoreRefused    Reason = "store_refused"    // the store refused it when committed alone
	ReasonStale           Reason = "stale"            // older than the dedupe window
	ReasonUnusable        Reason = "unusable"         // authentic, but its adapter can make no event of it
	ReasonUnknownTenant   Reason = "unknown_tenant"   // no such tenant, or no tenant for its route
	ReasonTenantInactive  Reason = "tenant_inactive"  // the tenant is not active
	ReasonTenantMismatch  Reason = "tenant_mismatch"  // URL, payload, attribute or route name different tenants
	ReasonTenantForbidden Reason = "tenant_forbidden" // the endpoint may not speak for the tenant
	ReasonPanic           Reason = "panic"            // usher itself broke on it
	ReasonProcessor       Reason = "processor"        // a processor's permanent error
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{
		ReasonUndecodable, ReasonTooLarge, ReasonForbiddenID, ReasonStoreRefused, ReasonStale, ReasonUnusable, ReasonUnknownTenant,
		ReasonTenantInactive, ReasonTenantMismatch, ReasonTenantForbidden, ReasonPanic, ReasonProcessor,
	}
}

// Class returns who can mend it.
func (r Reason) Class() Class {
	switch r {
	case ReasonUnknownTenant, ReasonTenantInactive, ReasonTenantMismatch, ReasonTenantForbidden, ReasonProcessor:
		return ClassTenant
	}
	return ClassPipeline
}

// Attribute names of dead letters, besides AttrTenant, AttrEvent and AttrSource where known.
const (
	AttrReason = "dead_letter_reason"
	AttrClass  = "dead_letter_class"
)

// DeadLetter is the body of a parked message: all that is needed to understand it and to put it back.
type DeadLetter struct {
	Reason Reason `json:"reason"`
	Class  Class  `json:"class"`
	// Detail is static text or a field path; never a piece of the payload.
	Detail   string           `json:"detail,omitempty"`
	TenantID visitor.TenantID `json:"tenant_id,omitempty"`
	Source   string           `json:"source,omitempty"`
	EventID  visitor.EventID  `json:"event_id,omitempty"`
	ParkedAt time.Time        `json:"parked_at"`
	// ReceivedAt is the first receipt.
	ReceivedAt time.Time `json:"received_at,omitzero"`
	// Message is set when a message was parked by the daemon.
	Message *ParkedMessage `json:"message,omitempty"`
	// Webhook is set when a request was parked by ingest.
	Webhook *ParkedWebhook `json:"webhook,omitempty"`
}

// ParkedMessage is a message as the daemon received it.
type ParkedMessage struct {
	ID          string            `json:"id"`
	PublishTime time.Time         `json:"publish_time,omitzero"`
	Attempts    int               `json:"attempts,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Data        []byte            `json:"data,omitempty"` // compressed with Compress
}

// ParkedWebhook is an authentic request that ingest could make no event of.
type ParkedWebhook struct {
	Endpoint   string `json:"endpoint"`
	PathTenant string `json:"path_tenant,omitempty"`
	VerifiedID string `json:"verified_id,omitempty"` // the delivery id whose signature verified
	// FunctionExecutionID is the execution that received it.
	FunctionExecutionID string            `json:"function_execution_id,omitempty"`
	Headers             map[string]string `json:"headers,omitempty"` // safe ones only
	Body                []byte            `json:"body,omitempty"`    // compressed with Compress
}

// EncodeDeadLetter returns the message for a dead letter; it sets Class from Reason.
func EncodeDeadLetter(d *DeadLetter) (*queue.Message, error) {
	d.Class = d.Reason.Class()
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode dead letter: %w", errDeadLetter)
	}
	attrs := map[string]string{AttrReason: string(d.Reason), AttrClass: string(d.Class)}
	for k, v := range map[string]string{
		AttrTenant: string(d.TenantID), AttrSource: d.Source, AttrEvent: string(d.EventID),
	} {
		if v != "" && len(v) <= queue.MaxAttributeValue && utf8.ValidString(v) {
			attrs[k] = v
		}
	}
	return &queue.Message{Data: b, Attributes: attrs}, nil
}

var errDeadLetter = errors.New("not a dead letter")

// DecodeDeadLetter reads a dead letter's message.
func DecodeDeadLetter(m *queue.Message) (*DeadLetter, error) {
	var d DeadLetter
	if err := json.Unmarshal(m.Data, &d); err != nil || d.Reason == "" {
		return nil, fmt.Errorf("decode dead letter: %w", errDeadLetter)
	}
	return &d, nil
}
