package visitor_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/usherhq/usher/consumer/visitor"
)

// cookbook maps everything that MDB's cookbook stores, sends and configures to where usher keeps it, so that a
// drop-in user finds every value again.
var cookbook = []struct {
	name   string
	fields map[string][]string // the cookbook's name -> paths of Event
}{
	{"table visitor_identifications", map[string][]string{
		"id":            {"id"},
		"tenant_id":     {"tenant_id"},
		"visitor_data":  {"person", "company", "visit", "session"},
		"pixel_options": {"attribution"},
		"page_id":       {"attribution.page_id"},
		"campaign_id":   {"attribution.campaign_id"},
		"identified_at": {"identified_at"},
		"processed_at":  {"processed_at"},
	}},
	{"stored profile", map[string][]string{
		"tenant_id":               {"tenant_id"},
		"visitor_data":            {"person", "company", "visit", "session"},
		"attribution.page_id":     {"attribution.page_id"},
		"attribution.campaign_id": {"attribution.campaign_id"},
		"attribution.source":      {"attribution.pixel_source"},
		"processed_at":            {"processed_at"},
	}},
	{"message", map[string][]string{
		"id":            {"source_event_id"},
		"timestamp":     {"identified_at", "source_time"},
		"tenant_id":     {"tenant_id"},
		"page_id":       {"attribution.page_id"},
		"mdb_data":      {"person", "company", "visit", "session"},
		"pixel_options": {"attribution"},
		"processing_metadata.webhook_received_at":   {"receipt.received_at"},
		"processing_metadata.function_execution_id": {"receipt.function_execution_id"},
		"processing_metadata.lambda_request_id":     {"receipt.function_execution_id"},
		"event_type":                                {"type"},
	}},
	{"pixel options", map[string][]string{
		"tenant_id":         {"tenant_id"},
		"page_id":           {"attribution.page_id"},
		"source":            {"attribution.pixel_source"},
		"timestamp":         {"attribution.pixel_timestamp"},
		"campaign":          {"attribution.campaign"},
		"user_segment":      {"attribution.user_segment"},
		"client_name":       {"attribution.client_name"},
		"page_type":         {"attribution.page_type"},
		"campaign_id":       {"attribution.campaign_id"},
		"campaign_name":     {"attribution.campaign_name"},
		"pixel_version":     {"attribution.pixel_version"},
		"integration_type":  {"attribution.integration_type"},
		"custom_attributes": {"attribution.custom_attributes"},
		"any other":         {"attribution.extra_options"},
	}},
	{"visitor profile", map[string][]string{
		"person_id":             {"session.vendor_visitor_id"},
		"name":                  {"person.full_name"},
		"first_name":            {"person.first_name"},
		"last_name":             {"person.last_name"},
		"profile_picture_url":   {"person.photo_url"},
		"linkedin_url":          {"person.linkedin_url"},
		"gender":                {"person.demographics.gender"},
		"age_min":               {"person.demographics.age_min"},
		"age_max":               {"person.demographics.age_max"},
		"address_street":        {"person.location.street"},
		"address_city":          {"person.location.city"},
		"address_state":         {"person.location.region"},
		"address_zip":           {"person.location.postal_code"},
		"address_country":       {"person.location.country"},
		"location":              {"person.location.raw"},
		"work_emails":           {"person.emails.address", "person.emails.kind"},
		"personal_emails":       {"person.emails.address", "person.emails.kind"},
		"work_phones":           {"person.phones.number", "person.phones.kind"},
		"personal_phones":       {"person.phones.number", "person.phones.kind"},
		"job_title":             {"person.title"},
		"company_name":          {"company.name"},
		"company_logo_url":      {"company.logo_url"},
		"company_linkedin_url":  {"company.linkedin_url"},
		"company_industry":      {"company.industry"},
		"company_revenue_min":   {"company.revenue"},
		"company_revenue_max":   {"company.revenue"},
		"company_headcount":     {"company.employee_count"},
		"total_sessions":        {"visit.visit_number"},
		"total_pageviews":       {"visit.pages_viewed"},
		"total_time_on_site":    {"visit.duration_seconds"},
		"last_seen_at":          {"session.last_activity_at"},
		"visited_pages":         {"visit.pages.url"},
		"latest_utm_source":     {"attribution.utm.source"},
		"latest_utm_medium":     {"attribution.utm.medium"},
		"latest_utm_campaign":   {"attribution.utm.campaign"},
		"latest_utm_term":       {"attribution.utm.term"},
		"latest_utm_content":    {"attribution.utm.content"},
		"latest_entry_path":     {"visit.landing_page"},
		"latest_exit_path":      {"visit.page_url"},
		"consent (where given)": {"consent.given", "consent.is_eu"},
	}},
}

func TestCookbook_everythingHasAField(t *testing.T) {
	t.Parallel()

	paths := jsonPaths(reflect.TypeFor[visitor.Event](), "")
	for _, table := range cookbook {
		for name, fields := range table.fields {
			if len(fields) == 0 {
				t.Errorf("%s: %s is mapped to nothing", table.name, name)
			}
			for _, f := range fields {
				if !paths[f] {
					t.Errorf("%s: %s is mapped to %s, which Event does not have", table.name, name, f)
				}
			}
		}
	}
}

// TestCookbook_oneFieldPerOption: two pixel options in one field would overwrite each other.
func TestCookbook_oneFieldPerOption(t *testing.T) {
	t.Parallel()

	for _, table := range cookbook {
		if table.name != "pixel options" {
			continue
		}
		owner := map[string]string{}
		for name, fields := range table.fields {
			for _, f := range fields {
				if other, ok := owner[f]; ok {
					t.Errorf("pixel options %s and %s share the field %s", name, other, f)
				}
				owner[f] = name
			}
		}
	}
}

// jsonPaths lists the dotted JSON paths of a type; a list's elements have the list's path.
func jsonPaths(typ reflect.Type, prefix string) map[string]bool {
	out := map[string]bool{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[prefix+name] = true
		ft := f.Type
		if ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && ft.PkgPath() == typ.PkgPath() {
			for p := range jsonPaths(ft, prefix+name+".") {
				out[p] = true
			}
		}
	}
	return out
}
