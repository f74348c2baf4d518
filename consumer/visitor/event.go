// Package visitor is the published event model: what usher knows of one identified visit, versioned and typed.
//
// An [Event] is immutable once published. Within a major version fields are only ever added, and every added
// field is optional, so a consumer built for 1.0 reads every 1.x event. The raw vendor payload is never part
// of an event: it travels beside it.
package visitor

import "time"

// Schema is the version that this package writes, "major.minor".
const Schema = "1.0"

// TypeVisitorIdentified is the only event type of schema 1; it is also the message attribute event_type.
const TypeVisitorIdentified = "visitor_identified"

// Stage says how far the vendor had got with a visitor when it sent the event.
type Stage string

// The stages in the order in which a vendor works; a later stage is never undone by an earlier one.
const (
	StageResolved  Stage = "resolved"  // recognized
	StageQualified Stage = "qualified" // professional fields are there
	StageEnriched  Stage = "enriched"  // full person and companies
	StageValidated Stage = "validated" // an e-mail address was checked
	StageFinalized Stage = "finalized" // the session ended; the journey is complete
)

// Origin says which door an event came through.
type Origin string

// The origins of schema 1.
const (
	OriginWebhook  Origin = "webhook"  // POST to usher's own ingest function
	OriginCookbook Origin = "cookbook" // a publisher written after MDB's cookbook
)

// Event is one visitor identification, normalised from a vendor's webhook.
type Event struct {
	// Schema is the version the event was written in, "major.minor".
	Schema string `json:"schema"`
	// ID is derived from source, tenant and the vendor's event id or body; equal events have equal ids.
	ID EventID `json:"id"`
	// Type is "visitor_identified".
	Type string `json:"type"`
	// Stage says how far the vendor had got; empty where the vendor has no stages.
	Stage Stage `json:"stage,omitempty"`
	// TenantID is the tenant the event belongs to.
	TenantID TenantID `json:"tenant_id"`
	// VisitorID names the visitor within the tenant; empty when the event carries no identifier.
	VisitorID VisitorID `json:"visitor_id,omitempty"`
	// Source is the adapter that read the webhook, such as "midbound".
	Source string `json:"source"`
	// SourceEventID is the vendor's own id of the event, or the id a cookbook publisher made.
	SourceEventID string `json:"source_event_id,omitempty"`
	// Origin says which door the event came through.
	Origin Origin `json:"origin"`
	// RepeatAfterSeconds is set when ID was derived from the body: the same body received longer than this
	// after the first is a new occurrence, not a retry.
	RepeatAfterSeconds int64 `json:"repeat_after_seconds,omitempty"`
	// IdentifiedAt is when the vendor says the visitor was identified; the receipt time where it does not say
	// or says something impossible.
	IdentifiedAt time.Time `json:"identified_at"`
	// SourceTime is the vendor's own timestamp as sent, kept when it could not be used for IdentifiedAt.
	SourceTime string `json:"source_time,omitempty"`
	// ProcessedAt is when the daemon stored the event; not set in messages.
	ProcessedAt time.Time `json:"processed_at,omitzero"`
	// Receipt is how the event came in, first time.
	Receipt Receipt `json:"receipt"`

	Person      Person      `json:"person,omitzero"`
	Company     Company     `json:"company,omitzero"`
	Visit       Visit       `json:"visit,omitzero"`
	Session     Session     `json:"session,omitzero"`
	Attribution Attribution `json:"attribution,omitzero"`
	Consent     Consent     `json:"consent,omitzero"`
}

// Receipt records the first time usher (or a cookbook publisher) received the event.
type Receipt struct {
	// ReceivedAt decides the usage period; it survives redelivery and redrive.
	ReceivedAt time.Time `json:"received_at"`
	// FunctionExecutionID is the execution that received it.
	FunctionExecutionID string `json:"function_execution_id,omitempty"`
	// Endpoint is the configured endpoint that received it.
	Endpoint string `json:"endpoint,omitempty"`
}

// Person is what the vendor says of the human being; all of it is personal data.
type Person struct {
	FirstName    string       `json:"first_name,omitempty"`
	LastName     string       `json:"last_name,omitempty"`
	FullName     string       `json:"full_name,omitempty"`
	Title        string       `json:"title,omitempty"`
	Headline     string       `json:"headline,omitempty"`
	Seniority    string       `json:"seniority,omitempty"`
	Department   string       `json:"department,omitempty"`
	Emails       []Email      `json:"emails,omitempty"`
	Phones       []Phone      `json:"phones,omitempty"`
	LinkedInURL  string       `json:"linkedin_url,omitempty"`
	PhotoURL     string       `json:"photo_url,omitempty"`
	Demographics Demographics `json:"demographics,omitzero"`
	Location     Location     `json:"location,omitzero"`
}

// EmailKind says what an address is used for.
type EmailKind string

// The kinds of address; empty where the vendor does not say.
const (
	EmailProfessional EmailKind = "professional"
	EmailPersonal     EmailKind = "personal"
)

// Email is one address with its kind and, where the vendor checked it, its validity.
type Email struct {
	Address  string    `json:"address"`
	Kind     EmailKind `json:"kind,omitempty"`
	Validity string    `json:"validity,omitempty"` // valid, invalid, catch_all, valid_catch_all
}

// Phone is one number as the vendor wrote it.
type Phone struct {
	Number string `json:"number"`
	Kind   string `json:"kind,omitempty"` // work, personal, mobile
}

// Demographics are as the vendor gives them; unknown stays unset.
type Demographics struct {
	IsHomeowner *bool  `json:"is_homeowner,omitempty"`
	HasChildren *bool  `json:"has_children,omitempty"`
	IsMarried   *bool  `json:"is_married,omitempty"`
	Gender      string `json:"gender,omitempty"`
	AgeMin      int    `json:"age_min,omitempty"`
	AgeMax      int    `json:"age_max,omitempty"`
}

// Location is a place as the vendor writes it.
type Location struct {
	Raw         string `json:"raw,omitempty"`
	Street      string `json:"street,omitempty"`
	City        string `json:"city,omitempty"`
	Region      string `json:"region,omitempty"`
	PostalCode  string `json:"postal_code,omitempty"`
	Country     string `json:"country,omitempty"`
	CountryCode string `json:"country_code,omitempty"` // ISO 3166-1 alpha-2
}

// Company is the visitor's employer, or the visitor itself for company-level sources.
type Company struct {
	Name          string   `json:"name,omitempty"`
	Domain        string   `json:"domain,omitempty"`
	Website       string   `json:"website,omitempty"`
	Industry      string   `json:"industry,omitempty"`
	EmployeeCount string   `json:"employee_count,omitempty"` // a number or a range, as sent
	Revenue       string   `json:"revenue,omitempty"`        // as sent
	LinkedInURL   string   `json:"linkedin_url,omitempty"`
	LogoURL       string   `json:"logo_url,omitempty"`
	FoundedYear   int      `json:"founded_year,omitempty"`
	Location      Location `json:"location,omitzero"`
}

// MaxPages is how many pages of a journey an event carries; the raw payload has them all.
const MaxPages = 200

// Visit is what the visitor did.
type Visit struct {
	PageURL         string  `json:"page_url,omitempty"`
	LandingPage     string  `json:"landing_page,omitempty"`
	LandingTitle    string  `json:"landing_title,omitempty"`
	Referrer        string  `json:"referrer,omitempty"`
	Pages           []Page  `json:"pages,omitempty"`        // the first MaxPages
	PagesViewed     int     `json:"pages_viewed,omitempty"` // all of them
	DurationSeconds float64 `json:"duration_seconds,omitempty"`
	VisitNumber     int     `json:"visit_number,omitempty"`
	IsReturn        *bool   `json:"is_return,omitempty"`
}

// Page is one step of the journey.
type Page struct {
	URL    string    `json:"url"`
	Title  string    `json:"title,omitempty"`
	Signal string    `json:"signal,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Session is the vendor's session: one per website host and tracking id.
type Session struct {
	ID             string    `json:"id,omitempty"`
	VendorVisitor  string    `json:"vendor_visitor_id,omitempty"`
	Host           string    `json:"host,omitempty"`        // ASCII (punycode), lower case, without port and "www."
	TrackingID     string    `json:"tracking_id,omitempty"` // the pixel
	StartedAt      time.Time `json:"started_at,omitzero"`
	EndedAt        time.Time `json:"ended_at,omitzero"`
	LastActivityAt time.Time `json:"last_activity_at,omitzero"`
	UserAgent      string    `json:"user_agent,omitempty"`
	Timezone       string    `json:"timezone,omitempty"`
	ScreenWidth    int       `json:"screen_width,omitempty"`
	ScreenHeight   int       `json:"screen_height,omitempty"`
	Network        Network   `json:"network,omitzero"`
}

// Network is where the visitor's request came from; the IP address is personal data.
type Network struct {
	IP                  string   `json:"ip,omitempty"`
	City                string   `json:"city,omitempty"`
	Region              string   `json:"region,omitempty"`
	RegionCode          string   `json:"region_code,omitempty"`
	PostalCode          string   `json:"postal_code,omitempty"`
	CountryCode         string   `json:"country_code,omitempty"`
	Continent           string   `json:"continent,omitempty"`
	Latitude            string   `json:"latitude,omitempty"`
	Longitude           string   `json:"longitude,omitempty"`
	ASN                 int64    `json:"asn,omitempty"`
	ASNName             string   `json:"asn_name,omitempty"`
	BotScore            *float64 `json:"bot_score,omitempty"`
	VerifiedBot         *bool    `json:"verified_bot,omitempty"`
	VerifiedBotCategory string   `json:"verified_bot_category,omitempty"`
	CorporateProxy      *bool    `json:"corporate_proxy,omitempty"`
}

// Attribution says which page, campaign and pixel brought the visitor: the pixel's options and the UTM set.
type Attribution struct {
	PageID          string `json:"page_id,omitempty"`
	PageType        string `json:"page_type,omitempty"`
	Campaign        string `json:"campaign,omitempty"`
	CampaignID      string `json:"campaign_id,omitempty"`
	CampaignName    string `json:"campaign_name,omitempty"`
	UTM             UTM    `json:"utm,omitzero"`
	GCLID           string `json:"gclid,omitempty"`
	FBCLID          string `json:"fbclid,omitempty"`
	PixelID         string `json:"pixel_id,omitempty"`
	PixelSource     string `json:"pixel_source,omitempty"` // the pixel option "source"
	PixelVersion    string `json:"pixel_version,omitempty"`
	PixelTime       string `json:"pixel_timestamp,omitempty"` // the pixel option "timestamp", as sent
	UserSegment     string `json:"user_segment,omitempty"`
	ClientName      string `json:"client_name,omitempty"`
	IntegrationType string `json:"integration_type,omitempty"`
	// CustomAttributes is the pixel option of that name.
	CustomAttributes map[string]any `json:"custom_attributes,omitempty"`
	// ExtraOptions are the pixel options that usher has no field for.
	ExtraOptions map[string]any `json:"extra_options,omitempty"`
}

// UTM is the campaign tag set of the landing page.
type UTM struct {
	Source   string `json:"source,omitempty"`
	Medium   string `json:"medium,omitempty"`
	Campaign string `json:"campaign,omitempty"`
	Term     string `json:"term,omitempty"`
	Content  string `json:"content,omitempty"`
}

// Consent is what the vendor says of the visitor's consent and of the law that applies.
type Consent struct {
	// IsEU is the vendor's own flag.
	IsEU *bool `json:"is_eu,omitempty"`
	// Given is the visitor's answer where the vendor forwards it.
	Given *bool `json:"given,omitempty"`
	// Document names the text that was agreed to.
	Document string `json:"document,omitempty"`
}
