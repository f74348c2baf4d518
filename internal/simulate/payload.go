package simulate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// visit is one simulated session that a vendor reports.
type visit struct {
	id      string // unique, made from seed and number
	tenant  string
	host    string
	who     person
	at      time.Time
	landing string
	pages   []string
	utm     string
	seconds int
	repeat  bool
}

func newVisit(r *rand.Rand, id, tenant, host string, who person, at time.Time) visit {
	v := visit{id: id, tenant: tenant, host: host, who: who, at: at, seconds: 10 + r.IntN(900), utm: pick(r, campaigns)}
	for range 1 + r.IntN(5) {
		v.pages = append(v.pages, "https://"+host+pick(r, pages))
	}
	v.landing = v.pages[0]
	v.repeat = r.IntN(3) == 0
	return v
}

// bodies makes the body of a vendor's webhook for a visit.
var bodies = map[string]func(visit) any{
	"mdb_legacy": mdbLegacy,
	"midbound":   midbound,
	"leadpipe":   leadpipe,
}

func (v visit) body(source string) ([]byte, error) {
	b, err := json.Marshal(bodies[source](v))
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", source, err)
	}
	return b, nil
}

type object = map[string]any

func mdbLegacy(v visit) any {
	return object{
		"version": "v1",
		"options": object{
			"tenant_id": v.tenant, "page_id": "page_" + v.id[len(v.id)-1:], "source": "simulated_pixel",
			"timestamp": v.at.UnixMilli(), "campaign": v.utm, "campaign_id": "c_" + v.utm, "campaign_name": v.utm,
			"user_segment": "simulated", "page_type": "landing", "pixel_version": "2.1.0", "integration_type": "script",
			"client_name": v.tenant, "custom_attributes": object{"plan": "trial", "visit": v.id},
		},
		"data": object{
			"first_name": v.who.first, "last_name": v.who.last, "work_email": v.who.email,
			"linkedin_url": v.who.linkedin, "job_title": v.who.title, "company_name": v.who.company,
			"company_industry": v.who.industry, "address_city": v.who.city, "address_country": v.who.country,
			"visited_pages": v.pages, "total_time_on_site": v.seconds, "latest_utm_campaign": v.utm,
			"timestamp": v.at.Format(time.RFC3339), "session": v.id,
		},
	}
}

func midbound(v visit) any {
	pixel, vid, sid := "mdb_pxl_"+v.tenant, fmt.Sprintf("vid_%s_%d", v.tenant, v.who.number), "sid_"+v.id
	return object{
		"id": "evt_sim_" + v.id, "type": "identity.resolved", "created": v.at.UnixMilli(),
		"data": object{
			"attribution": object{"type": "website", "pixelId": pixel, "sessionId": sid, "vid": vid, "prid": "jNNdd"},
			"identity": object{
				"emails":       []object{{"value": v.who.email, "type": "professional"}},
				"linkedinUrl":  v.who.linkedin,
				"phones":       []string{fmt.Sprintf("+155501%02d", v.who.number%100)},
				"demographics": object{"firstName": v.who.first, "lastName": v.who.last, "isMarried": nil, "hasChildren": false},
				"location":     object{"city": v.who.city, "state": nil, "country": v.who.country},
				"professional": object{"jobTitle": v.who.title, "companyName": v.who.company},
			},
			"session": object{
				"pid": pixel, "vid": vid, "sid": sid, "tenant": v.tenant,
				"createdAt": v.at.Add(-time.Duration(v.seconds) * time.Second).UnixMilli(), "endedAt": nil,
				"utm":      object{"source": "google", "medium": "cpc", "campaign": v.utm, "term": nil, "content": nil},
				"referrer": "https://search.example/", "landingPage": v.landing, "landingTitle": "Welcome",
				"gclid": "gclid-" + v.id, "fbclid": nil, "userAgent": "Mozilla/5.0 (simulated)",
				"screen": object{"width": 1920, "height": 1080}, "timezone": "Europe/Lisbon",
				"network": object{
					"ip": v.who.ip, "country": v.who.country, "city": v.who.city, "isEU": v.who.country == "PT" || v.who.country == "PL",
					"latitude": "38.7223", "longitude": "-9.1393", "asn": object{"code": 64500, "name": "Example Net"},
					"botManagement": object{"score": 95, "verifiedBot": false, "corporateProxy": false},
				},
				"options": object{"page_id": "landing", "campaign_id": "c_" + v.utm},
			},
		},
	}
}

func leadpipe(v visit) any {
	return object{
		"domain": v.host, "email": v.who.email, "first_name": v.who.first, "last_name": v.who.last,
		"company_name": v.who.company, "company_domain": v.who.companyDomain, "job_title": v.who.title,
		"linkedin_url": v.who.linkedin, "page_url": v.landing, "pages_viewed": v.pages, "visit_duration": v.seconds,
		"referrer": "https://search.example/", "industry": v.who.industry, "employee_count": "51-200",
		"city": v.who.city, "country": v.who.country, "timestamp": v.at.Format(time.RFC3339), "visit_id": v.id,
	}
}
