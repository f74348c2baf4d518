package mapping

import (
	"strings"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
)

// Identity maps Midbound's identity: emails, phones, linkedinUrl, demographics, location, professional.
func Identity(ev *visitor.Event, v *jsontree.Value) {
	p := &ev.Person
	AddEmails(p, v.Get("emails"), "")
	AddPhones(p, v.Get("phones"), "")
	fill(&p.LinkedInURL, v, "linkedinUrl")
	d := v.Get("demographics")
	fill(&p.FirstName, d, "firstName")
	fill(&p.LastName, d, "lastName")
	fill(&p.Demographics.Gender, d, "gender")
	fillBool(&p.Demographics.IsHomeowner, d, "isHomeowner")
	fillBool(&p.Demographics.HasChildren, d, "hasChildren")
	fillBool(&p.Demographics.IsMarried, d, "isMarried")
	location(&p.Location, v.Get("location"))
	work := v.Get("professional")
	fill(&p.Title, work, "jobTitle")
	fill(&ev.Company.Name, work, "companyName")
}

// location maps a place in any of the vendors' vocabularies. A country of two letters is a code.
func location(l *visitor.Location, v *jsontree.Value) {
	if v.Kind() == jsontree.String && l.Raw == "" {
		l.Raw = Clean(v.Text())
	}
	fill(&l.Raw, v, "raw")
	fill(&l.Street, v, "street")
	fill(&l.City, v, "city", "locality")
	fill(&l.Region, v, "state", "region")
	fill(&l.PostalCode, v, "postalCode", "zip")
	if l.CountryCode == "" {
		l.CountryCode = strings.ToUpper(Text(v, "countryCode"))
	}
	country(l, Text(v, "country"))
}

func country(l *visitor.Location, s string) {
	switch {
	case len(s) == 2 && isASCII(s):
		if l.CountryCode == "" {
			l.CountryCode = strings.ToUpper(s)
		}
	case l.Country == "":
		l.Country = s
	}
}

// Enrichment maps Midbound's enrichment: a full person, companies and e-mail validations. What the enrichment
// says of the title and the employer replaces what the identity said: it is the later finding.
func Enrichment(ev *visitor.Event, v *jsontree.Value) {
	person(ev, v.Get("person"))
	if items := v.Get("companies").Items(); len(items) > 0 {
		employer(&ev.Company, &items[0].Value)
	}
	Validations(ev, v.Get("emailValidations"))
}

// Validations maps the outcomes of e-mail checks; an address not known yet is added.
func Validations(ev *visitor.Event, v *jsontree.Value) { AddEmails(&ev.Person, v, "") }

func person(ev *visitor.Event, v *jsontree.Value) {
	p := &ev.Person
	AddEmails(p, v.Get("email"), "")
	fill(&p.FirstName, v, "firstName")
	fill(&p.LastName, v, "lastName")
	fill(&p.FullName, v, "fullName")
	fill(&p.Headline, v, "headline")
	fill(&p.PhotoURL, v, "profilePictureUrl")
	fill(&p.LinkedInURL, v, "linkedinUrl")
	location(&p.Location, v.Get("location"))
	job := current(v.Get("employments"))
	if job == nil {
		job = current(v.Get("experience"))
	}
	replace(&p.Title, Text(v, "jobTitle"), Text(job, "title"))
	employer(&ev.Company, job.Get("company"))
}

// replace sets dst to the first text that is not empty.
func replace(dst *string, texts ...string) {
	for _, s := range texts {
		if s != "" {
			*dst = s
			return
		}
	}
}

// current returns the first job without an end, else the first.
func current(jobs *jsontree.Value) *jsontree.Value {
	items := jobs.Items()
	for i := range items {
		if items[i].Value.First("endDate") == nil {
			return &items[i].Value
		}
	}
	if len(items) == 0 {
		return nil
	}
	return &items[0].Value
}

// employer maps Midbound's company. Another company than the one known so far replaces it as a whole: fields
// of two companies are never mixed.
func employer(c *visitor.Company, v *jsontree.Value) {
	name := Text(v, "name")
	if name == "" && v.Kind() == jsontree.String {
		name = Clean(v.Text())
	}
	if name == "" {
		return
	}
	if !strings.EqualFold(c.Name, name) {
		*c = visitor.Company{Name: name}
	}
	fillDomain(&c.Domain, v, "domain")
	fill(&c.Website, v, "website")
	fill(&c.Industry, v, "industry")
	fill(&c.Industry, v.Get("taxonomy"), "linkedinIndustry")
	fill(&c.EmployeeCount, v, "employeeCount")
	fill(&c.EmployeeCount, v.Get("headcount"), "total")
	fill(&c.LinkedInURL, v, "linkedinUrl")
	fill(&c.LogoURL, v, "logoUrl")
	fillCount(&c.FoundedYear, v, "foundedYear")
	location(&c.Location, v.Get("address"))
	if r := v.Get("estimatedRevenue"); c.Revenue == "" {
		c.Revenue = span(Text(r, "min"), Text(r, "max"), Text(r, "currency"))
	}
}

// span writes a range with its unit, such as "10-50 USD".
func span(low, high, unit string) string {
	s := low
	switch {
	case low == "":
		s = high
	case high != "" && high != low:
		s = low + "-" + high
	}
	if s == "" || unit == "" {
		return s
	}
	return s + " " + unit
}
