// Package mapping moves vendors' JSON into the event model: it accepts any type, cleans text, and never
// replaces what an event already has.
package mapping

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/host"
	"github.com/usherhq/usher/internal/jsontree"
)

// maxContacts bounds the e-mail addresses and the phone numbers of an event; the raw payload has them all.
const maxContacts = 50

// Clean returns text in NFC without control characters and surrounding space; a line break or tab becomes a
// space. Composed and decomposed spellings of one name become equal.
func Clean(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) >= 0 {
		s = strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r):
				return ' '
			case unicode.IsControl(r):
				return -1
			}
			return r
		}, s)
	}
	return strings.TrimSpace(norm.NFC.String(s))
}

// Text returns the first of the named members that has text, cleaned.
func Text(v *jsontree.Value, names ...string) string {
	for _, name := range names {
		if s := Clean(v.Get(name).Text()); s != "" {
			return s
		}
	}
	return ""
}

// fill sets a text that is still empty.
func fill(dst *string, v *jsontree.Value, names ...string) {
	if *dst == "" {
		*dst = Text(v, names...)
	}
}

// ID returns the first of the named members that is a string or number and not empty. A bool is no id: it would
// make one of many.
func ID(v *jsontree.Value, names ...string) string {
	for _, name := range names {
		m := v.Get(name)
		if m.Kind() != jsontree.String && m.Kind() != jsontree.Number {
			continue
		}
		if s := Clean(m.Text()); s != "" {
			return s
		}
	}
	return ""
}

// fillID sets an id that is still empty.
func fillID(dst *string, v *jsontree.Value, names ...string) {
	if *dst == "" {
		*dst = ID(v, names...)
	}
}

// fillBool sets a truth value that is still unknown.
func fillBool(dst **bool, v *jsontree.Value, names ...string) {
	if *dst != nil {
		return
	}
	if b, ok := v.First(names...).Bool(); ok {
		*dst = &b
	}
}

// fillCount sets a number that is still zero; counts are never negative.
func fillCount(dst *int, v *jsontree.Value, names ...string) {
	if *dst != 0 {
		return
	}
	if n, ok := v.First(names...).Int(); ok && n > 0 && n <= 1<<31 {
		*dst = int(n)
	}
}

// fillTime sets a time that is still unknown.
func fillTime(dst *time.Time, v *jsontree.Value, names ...string) {
	if !dst.IsZero() {
		return
	}
	if t, ok := v.First(names...).Time(); ok {
		*dst = t
	}
}

// IdentifiedAt sets the event's time and its text out of the first named member that is there. The time stays
// zero where the text is none.
func IdentifiedAt(ev *visitor.Event, v *jsontree.Value, names ...string) {
	at := v.First(names...)
	if at == nil || ev.SourceTime != "" {
		return
	}
	ev.SourceTime = Clean(at.Text())
	ev.IdentifiedAt, _ = at.Time()
}

// Host returns the normalised host of the first named member that is a URL or host name, "" without one.
func Host(v *jsontree.Value, names ...string) string {
	for _, name := range names {
		if h, err := host.Normalize(v.Get(name).Text()); err == nil {
			return h
		}
	}
	return ""
}

// fillDomain sets a domain that is still empty, normalised where it is one.
func fillDomain(dst *string, v *jsontree.Value, name string) {
	if *dst == "" {
		*dst = Host(v, name)
	}
	fill(dst, v, name)
}

// AddEmails adds addresses out of a string, an object with value, email or address, or a list of these. Text
// without "@" is no address. An address that is there already gets what it lacks.
func AddEmails(p *visitor.Person, v *jsontree.Value, kind visitor.EmailKind) {
	switch v.Kind() {
	case jsontree.List:
		items := v.Items()
		for i := range items {
			if items[i].Value.Kind() != jsontree.List {
				AddEmails(p, &items[i].Value, kind)
			}
		}
	case jsontree.Object:
		if k := emailKind(Text(v, "type", "kind")); k != "" {
			kind = k
		}
		addEmail(p, visitor.Email{
			Address:  Text(v, "value", "email", "address"),
			Kind:     kind,
			Validity: strings.ToLower(Text(v, "validity", "status")),
		})
	default:
		addEmail(p, visitor.Email{Address: Clean(v.Text()), Kind: kind})
	}
}

func emailKind(s string) visitor.EmailKind {
	switch strings.ToLower(s) {
	case "professional", "work", "business":
		return visitor.EmailProfessional
	case "personal", "private":
		return visitor.EmailPersonal
	}
	return ""
}

func addEmail(p *visitor.Person, m visitor.Email) {
	var ok bool
	if m.Address, ok = address(m.Address); !ok {
		return
	}
	key := strings.ToLower(m.Address)
	for i := range p.Emails {
		if e := &p.Emails[i]; strings.ToLower(e.Address) == key {
			if e.Kind == "" {
				e.Kind = m.Kind
			}
			if e.Validity == "" {
				e.Validity = m.Validity
			}
			return
		}
	}
	if len(p.Emails) < maxContacts {
		p.Emails = append(p.Emails, m)
	}
}

// address checks an e-mail address and brings an internationalised domain to ASCII, so that both of its forms
// are one identifier; any other address stays as sent.
func address(s string) (string, bool) {
	s = strings.TrimPrefix(s, "mailto:")
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || strings.ContainsFunc(s, unicode.IsSpace) {
		return "", false
	}
	local, domain := s[:at], s[at+1:]
	lower := strings.ToLower(domain)
	if isASCII(domain) && !strings.Contains(lower, "xn--") {
		return s, true
	}
	if ascii, err := host.ASCII(domain); err == nil {
		return local + "@" + ascii, true
	}
	return s, true
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// AddPhones adds numbers out of a string, a number, an object with value, number or phone, or a list of these.
func AddPhones(p *visitor.Person, v *jsontree.Value, kind string) {
	switch v.Kind() {
	case jsontree.List:
		items := v.Items()
		for i := range items {
			if items[i].Value.Kind() != jsontree.List {
				AddPhones(p, &items[i].Value, kind)
			}
		}
		return
	case jsontree.Object:
		if k := Text(v, "type", "kind"); k != "" {
			kind = strings.ToLower(k)
		}
		v = v.First("value", "number", "phone")
	case jsontree.Bool:
		return
	}
	number := Clean(v.Text())
	known := func(ph visitor.Phone) bool { return ph.Number == number }
	if number != "" && len(p.Phones) < maxContacts && !slices.ContainsFunc(p.Phones, known) {
		p.Phones = append(p.Phones, visitor.Phone{Number: number, Kind: kind})
	}
}
