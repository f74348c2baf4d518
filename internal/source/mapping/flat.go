package mapping

import (
	"strings"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/host"
	"github.com/usherhq/usher/internal/jsontree"
)

// Flat maps an object without levels, in the names that vendors share: first_name, work_email, company_name and
// so on. It leaves the session's host alone, because "domain" is the website for one vendor and the employer's
// for another.
func Flat(ev *visitor.Event, v *jsontree.Value) {
	flatPerson(&ev.Person, v)
	flatCompany(&ev.Company, v)
	flatVisit(&ev.Visit, v)
	flatSession(&ev.Session, v)
	flatAttribution(&ev.Attribution, v)
	fillBool(&ev.Consent.IsEU, v, "is_eu")
	fillBool(&ev.Consent.Given, v, "consent", "consent_given")
}

func flatPerson(p *visitor.Person, v *jsontree.Value) {
	fill(&p.FirstName, v, "first_name")
	fill(&p.LastName, v, "last_name")
	fill(&p.FullName, v, "full_name", "name")
	fill(&p.Title, v, "job_title", "title")
	fill(&p.Headline, v, "headline")
	fill(&p.Seniority, v, "seniority")
	fill(&p.Department, v, "department")
	fill(&p.LinkedInURL, v, "linkedin_url", "linkedin")
	fill(&p.PhotoURL, v, "profile_picture_url", "photo_url")
	for _, name := range []string{"work_email", "business_email", "work_emails", "business_emails"} {
		AddEmails(p, v.Get(name), visitor.EmailProfessional)
	}
	for _, name := range []string{"personal_email", "personal_emails"} {
		AddEmails(p, v.Get(name), visitor.EmailPersonal)
	}
	for _, name := range []string{"email", "emails"} {
		AddEmails(p, v.Get(name), "")
	}
	for _, name := range []string{"work_phone", "work_phones"} {
		AddPhones(p, v.Get(name), "work")
	}
	for _, name := range []string{"personal_phone", "personal_phones"} {
		AddPhones(p, v.Get(name), "personal")
	}
	AddPhones(p, v.Get("mobile_phone"), "mobile")
	for _, name := range []string{"phone", "phones"} {
		AddPhones(p, v.Get(name), "")
	}
	d := &p.Demographics
	fill(&d.Gender, v, "gender")
	fillCount(&d.AgeMin, v, "age_min", "age")
	fillCount(&d.AgeMax, v, "age_max", "age")
	fillBool(&d.IsHomeowner, v, "is_homeowner")
	fillBool(&d.HasChildren, v, "has_children")
	fillBool(&d.IsMarried, v, "is_married")
	l := &p.Location
	fill(&l.Raw, v, "location")
	fill(&l.Street, v, "address_street", "street")
	fill(&l.City, v, "address_city", "city")
	fill(&l.Region, v, "address_state", "state", "region")
	fill(&l.PostalCode, v, "address_zip", "zip", "postal_code")
	if l.CountryCode == "" {
		l.CountryCode = strings.ToUpper(Text(v, "country_code"))
	}
	country(l, Text(v, "address_country", "country"))
}

func flatCompany(c *visitor.Company, v *jsontree.Value) {
	fill(&c.Name, v, "company_name", "company")
	fillDomain(&c.Domain, v, "company_domain")
	fill(&c.Website, v, "company_website")
	fill(&c.Industry, v, "company_industry", "industry")
	fill(&c.EmployeeCount, v, "company_headcount", "company_employee_count", "employee_count", "company_size")
	fill(&c.Revenue, v, "company_revenue")
	if c.Revenue == "" {
		c.Revenue = span(Text(v, "company_revenue_min"), Text(v, "company_revenue_max"), "")
	}
	fill(&c.LinkedInURL, v, "company_linkedin_url")
	fill(&c.LogoURL, v, "company_logo_url")
	fillCount(&c.FoundedYear, v, "company_founded_year", "founded_year")
	fill(&c.Location.City, v, "company_city")
	fill(&c.Location.Region, v, "company_state")
	country(&c.Location, Text(v, "company_country"))
}

func flatVisit(visit *visitor.Visit, v *jsontree.Value) {
	fill(&visit.PageURL, v, "page_url", "current_url", "captured_url", "url")
	fill(&visit.LandingPage, v, "landing_page", "latest_entry_path")
	fill(&visit.LandingTitle, v, "landing_title")
	fill(&visit.Referrer, v, "referrer", "referrer_url")
	for _, name := range []string{"pages_viewed", "visited_pages", "pages"} {
		if len(visit.Pages) == 0 {
			Pages(visit, v.Get(name))
		}
		fillCount(&visit.PagesViewed, v, name) // some send a number instead of the list
	}
	fillCount(&visit.PagesViewed, v, "page_views")
	if d, ok := v.First("visit_duration", "session_duration", "duration").Float(); ok && d > 0 {
		visit.DurationSeconds = d
	}
	fillCount(&visit.VisitNumber, v, "visit_number", "visit_count", "total_sessions")
	fillBool(&visit.IsReturn, v, "is_return", "is_returning", "is_repeat_visit")
	if visit.IsReturn == nil && visit.VisitNumber > 0 {
		again := visit.VisitNumber > 1
		visit.IsReturn = &again
	}
}

func flatSession(s *visitor.Session, v *jsontree.Value) {
	fillID(&s.ID, v, "session_id")
	fillID(&s.TrackingID, v, "pixel_id", "tracking_id")
	fillTime(&s.StartedAt, v, "session_started_at", "session_start")
	fillTime(&s.EndedAt, v, "session_ended_at", "session_end")
	fillTime(&s.LastActivityAt, v, "last_seen_at")
	fill(&s.UserAgent, v, "user_agent")
	fill(&s.Timezone, v, "timezone")
	fill(&s.Network.IP, v, "ip_address", "ip")
}

func flatAttribution(a *visitor.Attribution, v *jsontree.Value) {
	fill(&a.UTM.Source, v, "latest_utm_source", "utm_source")
	fill(&a.UTM.Medium, v, "latest_utm_medium", "utm_medium")
	fill(&a.UTM.Campaign, v, "latest_utm_campaign", "utm_campaign")
	fill(&a.UTM.Term, v, "latest_utm_term", "utm_term")
	fill(&a.UTM.Content, v, "latest_utm_content", "utm_content")
	fill(&a.GCLID, v, "gclid")
	fill(&a.FBCLID, v, "fbclid")
	fillID(&a.PixelID, v, "pixel_id")
}

// VisitHost returns the website of a visit: the host of its page, landing page or first step, "" where none is
// a full URL.
func VisitHost(visit *visitor.Visit) string {
	urls := []string{visit.PageURL, visit.LandingPage}
	if len(visit.Pages) > 0 {
		urls = append(urls, visit.Pages[0].URL)
	}
	for _, u := range urls {
		if !strings.Contains(u, "//") {
			continue // a path
		}
		if h, err := host.Normalize(u); err == nil {
			return h
		}
	}
	return ""
}
