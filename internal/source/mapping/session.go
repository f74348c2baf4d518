package mapping

import (
	"strings"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
)

// Session maps Midbound's session with its network, UTM set, pixel options and journey.
func Session(ev *visitor.Event, v *jsontree.Value) {
	s := &ev.Session
	fillID(&s.ID, v, "sid")
	fillID(&s.VendorVisitor, v, "vid")
	fillID(&s.TrackingID, v, "pid")
	fillTime(&s.StartedAt, v, "createdAt")
	fillTime(&s.EndedAt, v, "endedAt")
	fillTime(&s.LastActivityAt, v, "lastActivity")
	fill(&s.UserAgent, v, "userAgent")
	fill(&s.Timezone, v, "timezone")
	fillCount(&s.ScreenWidth, v.Get("screen"), "width")
	fillCount(&s.ScreenHeight, v.Get("screen"), "height")
	if s.Host == "" {
		s.Host = Host(v, "landingPage")
	}
	network(ev, v.Get("network"))
	fill(&ev.Visit.LandingPage, v, "landingPage")
	fill(&ev.Visit.LandingTitle, v, "landingTitle")
	fill(&ev.Visit.Referrer, v, "referrer")
	a := &ev.Attribution
	utm(&a.UTM, v.Get("utm"))
	fill(&a.GCLID, v, "gclid")
	fill(&a.FBCLID, v, "fbclid")
	Options(a, v.Get("options").Nested())
	Pages(&ev.Visit, v.Get("events"))
}

// Origin maps Midbound's attribution: where in the vendor's world the event comes from. It fills what the
// session left open.
func Origin(ev *visitor.Event, v *jsontree.Value) {
	fillID(&ev.Session.ID, v, "sessionId")
	fillID(&ev.Session.VendorVisitor, v, "vid")
	fillID(&ev.Attribution.PixelID, v, "pixelId")
	if ev.Attribution.PixelID == "" {
		ev.Attribution.PixelID = ev.Session.TrackingID
	}
	if ev.Session.TrackingID == "" {
		ev.Session.TrackingID = ev.Attribution.PixelID
	}
}

func utm(u *visitor.UTM, v *jsontree.Value) {
	fill(&u.Source, v, "source")
	fill(&u.Medium, v, "medium")
	fill(&u.Campaign, v, "campaign")
	fill(&u.Term, v, "term")
	fill(&u.Content, v, "content")
}

func network(ev *visitor.Event, v *jsontree.Value) {
	n := &ev.Session.Network
	fill(&n.IP, v, "ip")
	fill(&n.City, v, "city")
	fill(&n.Region, v, "region")
	fill(&n.RegionCode, v, "regionCode")
	fill(&n.PostalCode, v, "postalCode")
	fill(&n.CountryCode, v, "country")
	fill(&n.Continent, v, "continent")
	fill(&n.Latitude, v, "latitude")
	fill(&n.Longitude, v, "longitude")
	if code, ok := v.Get("asn", "code").Int(); ok && n.ASN == 0 {
		n.ASN = code
	}
	fill(&n.ASNName, v.Get("asn"), "name")
	bot := v.Get("botManagement")
	if score, ok := bot.Get("score").Float(); ok && n.BotScore == nil {
		n.BotScore = &score
	}
	fillBool(&n.VerifiedBot, bot, "verifiedBot")
	fill(&n.VerifiedBotCategory, bot, "verifiedBotCategory")
	fillBool(&n.CorporateProxy, bot, "corporateProxy")
	fillBool(&ev.Consent.IsEU, v, "isEU")
}

// Pages maps a journey: URLs, or objects with url, title, signal and ts. Every page view is counted; the first
// [visitor.MaxPages] steps are kept.
func Pages(visit *visitor.Visit, v *jsontree.Value) {
	items := v.Items()
	views := 0
	for i := range items {
		page := step(&items[i].Value)
		if page.URL == "" {
			continue
		}
		if page.Signal == "" || strings.EqualFold(page.Signal, "pageview") {
			views++
		}
		if len(visit.Pages) < visitor.MaxPages {
			visit.Pages = append(visit.Pages, page)
		}
	}
	if visit.PagesViewed == 0 {
		visit.PagesViewed = views
	}
}

func step(v *jsontree.Value) visitor.Page {
	if v.Kind() == jsontree.String {
		return visitor.Page{URL: Clean(v.Text())}
	}
	page := visitor.Page{URL: Text(v, "url", "page_url", "page", "path"), Title: Text(v, "title"), Signal: Text(v, "signal")}
	fillTime(&page.At, v, "ts", "timestamp")
	return page
}

// Duration sets the visit's length from a session's start and end, where both are known and in order.
func Duration(visit *visitor.Visit, start, end time.Time) {
	if visit.DurationSeconds == 0 && !start.IsZero() && end.After(start) {
		visit.DurationSeconds = end.Sub(start).Seconds()
	}
}
