package visitor

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
)

// TenantID names a tenant: any string the platform uses internally that is legal in a document path.
type TenantID string

// EventID names an event; see [NewEventID].
type EventID string

// VisitorID names a visitor within a tenant; see [NewVisitorID].
type VisitorID string

// IdentifierKind says what kind of thing identifies a visitor.
type IdentifierKind string

// The kinds of identifier, in the order of precedence of a visitor's id.
const (
	IdentifierVendor   IdentifierKind = "vendor"   // the vendor's own visitor id
	IdentifierEmail    IdentifierKind = "email"    // an address, lower case
	IdentifierLinkedIn IdentifierKind = "linkedin" // a profile URL, normalised
)

// Identifier is one thing by which a visitor is recognized.
type Identifier struct {
	Kind  IdentifierKind
	Value string
}

// MaxTenantID is the longest tenant id in bytes; it leaves room in Firestore's 1,500 byte segment limit and
// in attribute values.
const MaxTenantID = 128

var errTenantID = errors.New("tenant id: want 1 to 128 bytes of letters, digits, '_', '-', '.', ':' or '~', " +
	"not '.', '..' or '__x__'")

// Validate reports whether the id can be a path segment, an attribute and a log field; an e-mail address cannot.
// The error never quotes the id: it may come from a browser.
func (t TenantID) Validate() error {
	if t == "" || len(t) > MaxTenantID || t == "." || t == ".." {
		return errTenantID
	}
	if len(t) >= 4 && strings.HasPrefix(string(t), "__") && strings.HasSuffix(string(t), "__") {
		return errTenantID
	}
	for i := range len(t) {
		c := t[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_-.:~", c) >= 0:
		default:
			return errTenantID
		}
	}
	return nil
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// hashID joins the parts unambiguously (each with its length) and returns prefix + base32(SHA-256).
func hashID(prefix string, parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var sum [sha256.Size]byte
	return prefix + idEncoding.EncodeToString(h.Sum(sum[:0]))
}

// NewEventID derives an event's id from its source, its tenant, the vendor's key for it and the index of the
// record where one webhook carries several. Equal input gives equal ids; ids spread over the key space.
func NewEventID(source string, tenant TenantID, key string, index int) EventID {
	var i [8]byte
	binary.BigEndian.PutUint64(i[:], uint64(index))
	return EventID(hashID("evt_", source, string(tenant), key, string(i[:])))
}

// Occurrence is the id of a later occurrence of the same body, told apart by its UTC receipt day (YYYY-MM-DD).
func (id EventID) Occurrence(day string) EventID {
	return EventID(hashID("evt_", "occurrence", string(id), day))
}

// NewVisitorID derives a visitor's id from one identifier under one tenant.
func NewVisitorID(tenant TenantID, id Identifier) VisitorID {
	return VisitorID(hashID("vis_", string(tenant), string(id.Kind), id.Value))
}

// HashIdentifier is how an identifier is stored for look-ups: it reveals nothing without the value.
func HashIdentifier(tenant TenantID, id Identifier) string {
	return hashID("", "identifier", string(tenant), string(id.Kind), id.Value)
}

// Identifiers lists what identifies the event's visitor, in order of precedence: the vendor's visitor id
// (scoped by source), every e-mail address, the LinkedIn profile.
func (e *Event) Identifiers() []Identifier {
	ids := make([]Identifier, 0, 2+len(e.Person.Emails))
	if v := e.Session.VendorVisitor; v != "" {
		ids = append(ids, Identifier{IdentifierVendor, e.Source + ":" + v})
	}
	for _, m := range e.Person.Emails {
		if a := strings.ToLower(strings.TrimSpace(m.Address)); a != "" {
			ids = append(ids, Identifier{IdentifierEmail, a})
		}
	}
	if u := NormalizeLinkedIn(e.Person.LinkedInURL); u != "" {
		ids = append(ids, Identifier{IdentifierLinkedIn, u})
	}
	return ids
}

// Visitor derives the id of the event's visitor: a pure function of this one event, empty without identifier.
func (e *Event) Visitor() VisitorID {
	ids := e.Identifiers()
	if len(ids) == 0 {
		return ""
	}
	return NewVisitorID(e.TenantID, ids[0])
}

// NormalizeLinkedIn reduces a profile URL to "linkedin.com/in/name" in lower case, without scheme, www or
// country subdomain, query, fragment and trailing slash. Anything that is not a LinkedIn URL gives "".
func NormalizeLinkedIn(raw string) string {
	s := strings.ToLower(strings.TrimSpace(raw))
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	host, path, ok := strings.Cut(s, "/")
	if !ok || (host != "linkedin.com" && !strings.HasSuffix(host, ".linkedin.com")) {
		return ""
	}
	path = strings.TrimRight(path, "/")
	if path == "" {
		return ""
	}
	return "linkedin.com/" + path
}
