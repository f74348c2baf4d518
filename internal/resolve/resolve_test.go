package resolve_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source"
)

// one resolves a single record and returns its event or its error.
func one(t *testing.T, ep resolve.Endpoint, req resolve.Request, rec source.Record) (*visitor.Event, *resolve.Error) {
	t.Helper()
	ep.Name, ep.Adapter = "site", fixed{recs: []source.Record{rec}, repeatAfter: time.Hour}
	if req.Receipt.ReceivedAt.IsZero() {
		req.Receipt.ReceivedAt = received
	}
	req.Origin = visitor.OriginWebhook
	items, err := resolve.New(known).Webhook(t.Context(), &ep, req, nil)
	if err != nil {
		t.Fatalf("Webhook: %v", err)
	}
	return items[0].Event, items[0].Err
}

var known = routes{
	"domain:shop.example.com": "acme", "domain:example.com": "parent", "pixel:px1": "acme", "pixel:px2": "globex",
	"domain:bad.example.com": "a/b",
}

func domain(v string) source.Route { return source.Route{Kind: source.RouteDomain, Value: v} }
func pixel(v string) source.Route  { return source.Route{Kind: source.RoutePixel, Value: v} }

func TestTenant(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		allowed []visitor.TenantID
		path    string
		claim   string
		routes  []source.Route
		want    visitor.TenantID
		reason  envelope.Reason
		outcome source.Outcome
	}{
		{name: "path", path: "acme", want: "acme"},
		{name: "payload", claim: "acme", want: "acme"},
		{name: "path and payload agree", path: "acme", claim: "acme", want: "acme"},
		{name: "path and payload differ", path: "acme", claim: "globex", reason: envelope.ReasonTenantMismatch, outcome: source.BadRequest},
		{name: "route", routes: []source.Route{domain("shop.example.com")}, want: "acme"},
		{name: "most specific host", routes: []source.Route{domain("shop.example.com"), domain("example.com")}, want: "acme"},
		{name: "less specific host", routes: []source.Route{domain("blog.example.com"), domain("example.com")}, want: "parent"},
		{name: "kinds agree", routes: []source.Route{domain("shop.example.com"), pixel("px1")}, want: "acme"},
		{name: "kinds differ", routes: []source.Route{domain("shop.example.com"), pixel("px2")}, reason: envelope.ReasonTenantMismatch, outcome: source.BadRequest},
		{name: "one kind known", routes: []source.Route{domain("other.example.net"), pixel("px2")}, want: "globex"},
		{name: "claims go before routes", claim: "globex", routes: []source.Route{domain("shop.example.com")}, want: "globex"},
		{name: "unknown route", routes: []source.Route{domain("other.example.net")}, reason: envelope.ReasonUnknownTenant, outcome: source.MissingTenant},
		{name: "nothing", reason: envelope.ReasonUnusable, outcome: source.MissingTenant},
		{name: "allowed", allowed: []visitor.TenantID{"globex", "acme"}, claim: "acme", want: "acme"},
		{name: "forbidden", allowed: []visitor.TenantID{"globex"}, claim: "acme", reason: envelope.ReasonTenantForbidden, outcome: source.BadRequest},
		{name: "forbidden by route", allowed: []visitor.TenantID{"globex"}, routes: []source.Route{pixel("px1")}, reason: envelope.ReasonTenantForbidden, outcome: source.BadRequest},
		{name: "illegal path", path: "a/b", reason: envelope.ReasonForbiddenID, outcome: source.BadRequest},
		{name: "illegal payload", claim: "__acme__", reason: envelope.ReasonForbiddenID, outcome: source.BadRequest},
		{name: "illegal route", routes: []source.Route{domain("bad.example.com")}, reason: envelope.ReasonForbiddenID, outcome: source.BadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ev, err := one(t, resolve.Endpoint{Tenants: tc.allowed}, resolve.Request{Tenant: tc.path},
				source.Record{VendorID: "1", Tenant: tc.claim, Routes: tc.routes})
			if err != nil {
				if ev != nil || err.Reason != tc.reason || err.Outcome != tc.outcome {
					t.Fatalf("got %s (%s), want %s (%s)", err.Reason, err.Outcome, tc.reason, tc.outcome)
				}
				if wantID := tc.reason == envelope.ReasonTenantForbidden; wantID != (err.TenantID == "acme") {
					t.Errorf("TenantID of the error = %q", err.TenantID)
				}
				if tc.claim != "" && strings.Contains(err.Error(), tc.claim) {
					t.Errorf("the error quotes the claim: %v", err)
				}
				return
			}
			if tc.reason != "" || ev.TenantID != tc.want {
				t.Fatalf("tenant = %q, want %q %s", ev.TenantID, tc.want, tc.reason)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	type want struct {
		ID       visitor.EventID
		SourceID string
		Repeat   int64
	}
	key := func(k string) visitor.EventID { return visitor.NewEventID("fixed", "acme", k, 0) }
	const bodySum = "sha256:230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5" // of "body"
	for _, tc := range []struct {
		name string
		ep   resolve.Endpoint
		req  resolve.Request
		rec  source.Record
		want want
	}{
		{name: "vendor id first", req: resolve.Request{VerifiedID: "msg"}, rec: source.Record{VendorID: "v1", Canonical: []byte("body")},
			want: want{key("v1"), "v1", 0}},
		{name: "then the verified id", req: resolve.Request{VerifiedID: "msg"}, rec: source.Record{Canonical: []byte("body")},
			want: want{key("msg"), "msg", 0}},
		{name: "then the record, within the source's window", rec: source.Record{Canonical: []byte("body")},
			want: want{key(bodySum), "", 3600}},
		{name: "the endpoint's window goes first", ep: resolve.Endpoint{RepeatAfter: 90 * time.Second}, rec: source.Record{Canonical: []byte("body")},
			want: want{key(bodySum), "", 90}},
		{name: "a window is never zero", ep: resolve.Endpoint{RepeatAfter: time.Millisecond}, rec: source.Record{Canonical: []byte("body")},
			want: want{key(bodySum), "", 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.rec.Tenant = "acme"
			ev, err := one(t, tc.ep, tc.req, tc.rec)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, want{ev.ID, ev.SourceEventID, ev.RepeatAfterSeconds}); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := one(t, resolve.Endpoint{}, resolve.Request{}, source.Record{Tenant: "acme"}); err == nil || err.Reason != envelope.ReasonUnusable {
		t.Errorf("record without identity: %v, want unusable", err)
	}
}

func TestDefaultWindow(t *testing.T) {
	t.Parallel()
	ep := &resolve.Endpoint{Name: "site", Adapter: fixed{}}
	ev, err := resolve.New(nil).Record(t.Context(), ep, resolve.Request{}, &source.Record{Tenant: "acme", Canonical: []byte("x")}, 0)
	if err != nil || ev.RepeatAfterSeconds != int64(resolve.DefaultRepeatAfter.Seconds()) {
		t.Fatalf("RepeatAfterSeconds = %d, %v", ev.RepeatAfterSeconds, err)
	}
}

func TestRecordsOfOneBodyDiffer(t *testing.T) {
	t.Parallel()
	rec := source.Record{Tenant: "acme", Canonical: []byte("same")}
	ep := &resolve.Endpoint{Name: "site", Adapter: fixed{recs: []source.Record{rec, rec, {Test: true}, {}}}}
	items, err := resolve.New(nil).Webhook(t.Context(), ep, resolve.Request{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if items[0].Event.ID == items[1].Event.ID {
		t.Error("two records of one body have one id")
	}
	if it := items[2]; !it.Test || it.Event != nil || it.Err != nil {
		t.Errorf("test record: %+v", it)
	}
	if it := items[3]; it.Err == nil || it.Event != nil {
		t.Errorf("record without tenant: %+v", it)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		at         time.Time
		raw        string
		want       time.Time
		sourceTime string
	}{
		{name: "good", at: received.Add(-time.Hour), raw: "as sent", want: received.Add(-time.Hour)},
		{name: "a little ahead", at: received.Add(5 * time.Minute), want: received.Add(5 * time.Minute)},
		{name: "too far ahead", at: received.Add(5*time.Minute + time.Microsecond), want: received, sourceTime: "2026-03-04T05:11:07.123457Z"},
		{name: "too old", at: time.Date(2014, 12, 31, 23, 59, 59, 0, time.UTC), want: received, sourceTime: "2014-12-31T23:59:59Z"},
		{name: "raw is kept as sent", at: time.UnixMilli(1), raw: "1", want: received, sourceTime: "1"},
		{name: "none", want: received},
		{name: "unreadable", raw: "yesterday", want: received, sourceTime: "yesterday"},
		{name: "zone and nanoseconds", at: received.Add(999).In(time.FixedZone("", 3600)), want: received},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec := source.Record{VendorID: "1", Tenant: "acme"}
			rec.Event.IdentifiedAt, rec.Event.SourceTime = tc.at, tc.raw
			ev, err := one(t, resolve.Endpoint{}, resolve.Request{}, rec)
			if err != nil {
				t.Fatal(err)
			}
			if ev.IdentifiedAt != tc.want || ev.SourceTime != tc.sourceTime {
				t.Errorf("got %v %q, want %v %q", ev.IdentifiedAt, ev.SourceTime, tc.want, tc.sourceTime)
			}
		})
	}
}

func TestEventIsComplete(t *testing.T) {
	t.Parallel()
	rec := source.Record{VendorID: "v1", Tenant: "acme", Raw: []byte("raw"), Routes: []source.Route{pixel("px1"), domain("shop.example.com")}}
	rec.Event.Person.Emails = []visitor.Email{{Address: "Ada@Example.com"}}
	rec.Event.Session.Host = "www.example.com"
	ep := &resolve.Endpoint{Name: "site", Adapter: fixed{recs: []source.Record{rec}}}
	req := resolve.Request{Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: received, FunctionExecutionID: "x1"}}
	items, err := resolve.New(nil).Webhook(t.Context(), ep, req, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := rec.Event
	want.Schema, want.Type, want.TenantID = visitor.Schema, visitor.TypeVisitorIdentified, "acme"
	want.ID = visitor.NewEventID("fixed", "acme", "v1", 0)
	want.VisitorID = visitor.NewVisitorID("acme", visitor.Identifier{Kind: visitor.IdentifierEmail, Value: "ada@example.com"})
	want.Source, want.SourceEventID, want.Origin, want.IdentifiedAt = "fixed", "v1", visitor.OriginWebhook, received
	want.Receipt = visitor.Receipt{ReceivedAt: received, FunctionExecutionID: "x1", Endpoint: "site"}
	if d := cmp.Diff(&want, items[0].Event); d != "" {
		t.Error(d)
	}
	if items[0].Host != "shop.example.com" || string(items[0].Raw) != "raw" {
		t.Errorf("host %q raw %q", items[0].Host, items[0].Raw)
	}
	if err := items[0].Event.Validate(); err != nil {
		t.Error(err)
	}
}

func TestBodyErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		adapter fixed
		want    resolve.Error
	}{
		{"adapter says why", fixed{err: &source.Error{Outcome: source.UnsupportedVersion, Detail: "version"}},
			resolve.Error{Reason: envelope.ReasonUnusable, Outcome: source.UnsupportedVersion, Detail: "version"}},
		{"any other error", fixed{err: errors.New("quotes ada@example.com")},
			resolve.Error{Reason: envelope.ReasonUnusable, Outcome: source.BadRequest, Detail: "payload"}},
		{"no records", fixed{}, resolve.Error{Reason: envelope.ReasonUnusable, Outcome: source.BadRequest, Detail: "no records"}},
		{"too many records", fixed{recs: make([]source.Record, resolve.MaxRecords+1)},
			resolve.Error{Reason: envelope.ReasonTooLarge, Outcome: source.BadRequest, Detail: "too many records"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := resolve.New(nil).Webhook(t.Context(), &resolve.Endpoint{Name: "site", Adapter: tc.adapter}, resolve.Request{}, nil)
			var got *resolve.Error
			if !errors.As(err, &got) {
				t.Fatalf("error = %v", err)
			}
			if d := cmp.Diff(tc.want, *got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFinderOutageIsNobodysFault(t *testing.T) {
	t.Parallel()
	rec := source.Record{VendorID: "1", Routes: []source.Route{domain("shop.example.com")}}
	ep := &resolve.Endpoint{Name: "site", Adapter: fixed{recs: []source.Record{rec}}}
	_, err := resolve.New(routes{"domain:shop.example.com": "down"}).Webhook(t.Context(), ep, resolve.Request{}, nil)
	var refused *resolve.Error
	if !errors.Is(err, errDown) || errors.As(err, &refused) {
		t.Fatalf("error = %v, want the outage", err)
	}
}

func TestEndpointValidate(t *testing.T) {
	t.Parallel()
	if err := (&resolve.Endpoint{Name: "site", Adapter: fixed{}, Tenants: []visitor.TenantID{"acme"}}).Validate(); err != nil {
		t.Errorf("good endpoint: %v", err)
	}
	err := (&resolve.Endpoint{Tenants: []visitor.TenantID{"acme", "a/b"}, RepeatAfter: -1}).Validate()
	for _, want := range []string{"name: missing", "adapter: missing", "repeat_after: negative", "tenants[1]: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
