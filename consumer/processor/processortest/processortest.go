// Package processortest holds processors to the SDK's contract, in the tests of their authors.
//
// [Run] checks that a processor describes itself well, refuses what it should, and that its handlers are pure:
// they leave the event alone, give the same result every time and from many goroutines at once, ask only for
// effects that can be committed, and put no personal data into errors. Run it with -race.
package processortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

// Case is one tenant's settings and one event that goes through them.
type Case struct {
	Name string
	// Settings are as in a tenant's record: not yet checked, without defaults.
	Settings map[string]any
	// Event is what is processed; nil stands for [Event].
	Event *visitor.Event
	// Want is the wanted result. It is not looked at when an error is wanted.
	Want processor.Result
	// WantRefused is a piece of the error that the settings must be refused with.
	WantRefused string
	// WantErr is a piece of the error that processing must end with.
	WantErr string
	// WantPermanent is that the error was made with [processor.Permanent].
	WantPermanent bool
}

// Run checks the processor's description and then every case, each as a subtest.
func Run(t *testing.T, p processor.Processor, cases []Case) {
	t.Helper()
	t.Run("registration", func(t *testing.T) {
		t.Parallel()

		if err := checkRegistration(p); err != nil {
			t.Error(err)
		}
	})
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()

			if err := checkCase(t.Context(), p, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// Event returns a new valid event of an invented visitor, to be changed freely.
func Event() *visitor.Event {
	at := time.Date(2026, 2, 3, 10, 11, 12, 0, time.UTC)
	e := &visitor.Event{
		Schema:       visitor.Schema,
		ID:           visitor.NewEventID("midbound", "acme", "evt_1", 0),
		Type:         visitor.TypeVisitorIdentified,
		Stage:        visitor.StageEnriched,
		TenantID:     "acme",
		Source:       "midbound",
		Origin:       visitor.OriginWebhook,
		IdentifiedAt: at,
		Receipt:      visitor.Receipt{ReceivedAt: at.Add(time.Second)},
		Person: visitor.Person{
			FirstName: "Ada", LastName: "Example", FullName: "Ada Example", Title: "Co-Founder & CTO",
			Emails: []visitor.Email{
				{Address: "ada@acme.example", Kind: visitor.EmailProfessional},
				{Address: "ada.l@example.net", Kind: visitor.EmailPersonal},
			},
			Phones:   []visitor.Phone{{Number: "+15550100"}},
			Location: visitor.Location{City: "Lisbon", CountryCode: "PT"},
		},
		Company: visitor.Company{Name: "Acme", Domain: "acme.example", Industry: "Software"},
		Visit: visitor.Visit{
			PageURL: "https://www.example.com/pricing", PagesViewed: 2, DurationSeconds: 95,
			Pages: []visitor.Page{
				{URL: "https://www.example.com/", Title: "Home"},
				{URL: "https://www.example.com/pricing", Title: "Pricing"},
			},
		},
		Session: visitor.Session{ID: "s1", VendorVisitor: "v1", Network: visitor.Network{IP: "192.0.2.7"}},
		Attribution: visitor.Attribution{
			PageID: "pricing", CampaignID: "q1", UTM: visitor.UTM{Source: "newsletter"},
			CustomAttributes: map[string]any{"plan": "pro"},
		},
	}
	e.VisitorID = e.Visitor()
	return e
}

// checkRegistration holds the self-description to the registry's rules, and to being constant.
func checkRegistration(p processor.Processor) error {
	if err := processor.NewRegistry().Register(p); err != nil {
		return err
	}
	if !reflect.DeepEqual(p.Register(), p.Register()) {
		return errors.New("register: two calls describe the processor differently")
	}
	return nil
}

// checkCase configures the processor as usher does, by way of a registry, and runs the case's event.
func checkCase(ctx context.Context, p processor.Processor, c Case) error {
	reg := processor.NewRegistry()
	if err := reg.Register(p); err != nil {
		return err
	}
	before := snapshot(c.Settings)
	h, err := reg.Configure(p.Register().Name, c.Settings)
	if c.WantRefused != "" {
		return wantError("configure", err, c.WantRefused)
	}
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	if h == nil {
		return errors.New("configure: neither a handler nor an error")
	}
	if snapshot(c.Settings) != before {
		return errors.New("configure: changed the settings it was given")
	}
	ev := c.Event
	if ev == nil {
		ev = Event()
	}
	return checkHandler(ctx, h, ev, c)
}

func checkHandler(ctx context.Context, h processor.Handler, ev *visitor.Event, c Case) error {
	before := snapshot(ev)
	got, err := h.Process(ctx, ev)
	if snapshot(ev) != before {
		return errors.New("process: changed the event")
	}
	if again := differences(ctx, h, ev, got, err); again != nil {
		return again
	}
	if c.WantErr != "" || err != nil {
		return checkError(ev, err, c)
	}
	if err := got.Validate(); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	if got.Stop != c.Want.Stop || !sameEffects(got.Effects, c.Want.Effects) {
		return fmt.Errorf("process: result = %+v, want %+v", got, c.Want)
	}
	return nil
}

func checkError(ev *visitor.Event, err error, c Case) error {
	if c.WantErr == "" {
		return fmt.Errorf("process: %w", err)
	}
	if err := wantError("process", err, c.WantErr); err != nil {
		return err
	}
	if processor.IsPermanent(err) != c.WantPermanent {
		return fmt.Errorf("process: permanent error = %v, want %v", !c.WantPermanent, c.WantPermanent)
	}
	for _, s := range personal(ev) {
		if strings.Contains(err.Error(), s) {
			return errors.New("process: the error's text holds personal data of the event")
		}
	}
	return nil
}

// Concurrency of the check for purity: enough for the race detector to meet.
const (
	goroutines = 8
	calls      = 4
)

// differences processes the event again and again, concurrently, and reports a result unlike the first.
func differences(ctx context.Context, h processor.Handler, ev *visitor.Event, want processor.Result, wantErr error) error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range calls {
				got, err := h.Process(ctx, ev)
				if !reflect.DeepEqual(got, want) || text(err) != text(wantErr) {
					errs[g] = errors.New("process: the same event gave two different results")
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func sameEffects(a, b []processor.Effect) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

func wantError(op string, err error, want string) error {
	if err == nil {
		return fmt.Errorf("%s: no error, want %q", op, want)
	}
	if !strings.Contains(err.Error(), want) {
		return fmt.Errorf("%s: error = %w, want %q in it", op, err, want)
	}
	return nil
}

// personal lists texts of the event that must not be in an error.
func personal(ev *visitor.Event) []string {
	all := []string{ev.Person.LastName, ev.Person.FullName, ev.Person.LinkedInURL, ev.Session.Network.IP}
	for _, m := range ev.Person.Emails {
		all = append(all, m.Address)
	}
	for _, p := range ev.Person.Phones {
		all = append(all, p.Number)
	}
	out := all[:0]
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// snapshot is a value's JSON, for comparing before and after.
func snapshot(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v) // a setting that JSON does not know; good enough to compare
	}
	return string(b)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
