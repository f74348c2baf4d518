package visitor

import "time"

// Profile is a visitor as usher knows it: the merge of all its events. Merging is commutative: any order of
// the same events gives the same profile.
type Profile struct {
	ID       VisitorID `json:"id"`
	TenantID TenantID  `json:"tenant_id"`
	// Identifiers are hashed; see [HashIdentifier].
	Identifiers []string  `json:"identifiers,omitempty"`
	Sources     []string  `json:"sources,omitempty"`
	FirstSeen   time.Time `json:"first_seen"`
	LastSeen    time.Time `json:"last_seen"`
	// Events counts every event of the visitor.
	Events int64 `json:"events"`
	// Visits counts sessions over the visitor's latest events.
	Visits int `json:"visits"`
	// Stage is the furthest stage any event reached.
	Stage Stage `json:"stage,omitempty"`

	Person      Person      `json:"person,omitzero"`
	Company     Company     `json:"company,omitzero"`
	Attribution Attribution `json:"attribution,omitzero"`
	// Visit is the latest visit, without its pages.
	Visit   Visit   `json:"visit,omitzero"`
	Consent Consent `json:"consent,omitzero"`
	// Scores are sums that processors add to.
	Scores map[string]int64 `json:"scores,omitempty"`
}
