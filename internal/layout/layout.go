// Package layout names every collection and document: the one place where ids become document paths.
package layout

import (
	"fmt"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
)

// Collection names. Names of collection groups are unique.
const (
	Tenants         = "tenants"
	Identifications = "visitor_identifications"
	Visitors        = "visitors"
	RawParts        = "raw_parts"
	UsageShards     = "usage_shards"
	Held            = "held_events"
	HeldParts       = "held_parts"
	Routes          = "routes"
	DeadLetters     = "dead_letters"
	PayloadParts    = "payload_parts"
	Audit           = "operator_audit"
)

// TenantCollection is the collection of tenant records.
func TenantCollection() store.Path { return Tenants }

// Tenant is a tenant's record.
func Tenant(t visitor.TenantID) (store.Path, error) { return store.NewPath(Tenants, string(t)) }

// IdentificationCollection holds a tenant's identifications.
func IdentificationCollection(t visitor.TenantID) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Identifications)
}

// Identification is one stored event.
func Identification(t visitor.TenantID, e visitor.EventID) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Identifications, string(e))
}

// RawPart is one part of an identification's raw payload that is too large for one document. The key tells the
// payloads of different deliveries of one event apart.
func RawPart(t visitor.TenantID, e visitor.EventID, key string, part int) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Identifications, string(e), RawParts, fmt.Sprintf("%s-%04d", key, part))
}

// VisitorCollection holds a tenant's visitors.
func VisitorCollection(t visitor.TenantID) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Visitors)
}

// Visitor is one visitor's profile.
func Visitor(t visitor.TenantID, v visitor.VisitorID) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Visitors, string(v))
}

// UsageShard is one shard of a tenant's counters for a month (YYYY-MM).
func UsageShard(t visitor.TenantID, month string, shard int) (store.Path, error) {
	return store.NewPath(Tenants, string(t), UsageShards, fmt.Sprintf("%s-%d", month, shard))
}

// HeldCollection holds the events of a tenant that came while it was paused.
func HeldCollection(t visitor.TenantID) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Held)
}

// HeldEvent is one of them.
func HeldEvent(t visitor.TenantID, e visitor.EventID) (store.Path, error) {
	return store.NewPath(Tenants, string(t), Held, string(e))
}

// HeldPart is one part of a held event's message that is too large for its record, which has the key.
func HeldPart(t visitor.TenantID, key string, part int) (store.Path, error) {
	return store.NewPath(Tenants, string(t), HeldParts, fmt.Sprintf("%s-%04d", key, part))
}

// Route is the record that a route value, such as a domain, belongs to a tenant.
func Route(kind, value string) (store.Path, error) {
	return store.NewPath(Routes, kind+":"+value)
}

// DeadLetterCollection holds what was parked, of all tenants.
func DeadLetterCollection() store.Path { return DeadLetters }

// DeadLetter is one parked message or webhook.
func DeadLetter(id string) (store.Path, error) { return store.NewPath(DeadLetters, id) }

// PayloadPart is one part of a dead letter's payload that is too large for its record.
func PayloadPart(id string, part int) (store.Path, error) {
	return store.NewPath(DeadLetters, id, PayloadParts, fmt.Sprintf("%04d", part))
}

// AuditRecord says what an operator did.
func AuditRecord(id string) (store.Path, error) { return store.NewPath(Audit, id) }
