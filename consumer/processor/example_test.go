package processor_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

// countries counts identifications by the visitor's country.
type countries struct{}

func (countries) Register() processor.Registration {
	return processor.Registration{
		Name: "countries", Version: "1.0.0", Title: "Countries", Description: "Counts identifications by country.",
		Settings: []processor.Setting{{
			ID: "first_match_only", Type: processor.Boolean, Description: "Count a visitor once only.", Default: true,
		}},
	}
}

func (countries) Configure(s processor.Settings) (processor.Handler, error) {
	when := processor.Always
	if s.Boolean("first_match_only") {
		when = processor.IfFirstMatch
	}
	return processor.HandlerFunc(func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
		cc := strings.ToLower(ev.Person.Location.CountryCode)
		if len(cc) != 2 || !processor.ValidName(cc) {
			return processor.Result{}, nil
		}
		return processor.Result{Effects: []processor.Effect{
			processor.Count{Name: "country_" + cc, N: 1, When: when},
		}}, nil
	}), nil
}

func ExampleProcessor() {
	reg := processor.NewRegistry()
	if err := reg.Register(countries{}); err != nil {
		fmt.Println(err)
		return
	}
	h, err := reg.Configure("countries", map[string]any{"first_match_only": false})
	if err != nil {
		fmt.Println(err)
		return
	}
	ev := &visitor.Event{Person: visitor.Person{Location: visitor.Location{CountryCode: "PT"}}}
	res, err := h.Process(context.Background(), ev)
	fmt.Printf("%+v %v\n", res.Effects, err)
	// Output: [{Name:country_pt N:1 When:0}] <nil>
}

func ExampleRegistry_Configure() {
	reg := processor.NewRegistry()
	if err := reg.Register(countries{}); err != nil {
		fmt.Println(err)
		return
	}
	_, err := reg.Configure("countries", map[string]any{"first_match_only": "yes", "hue": "red"})
	fmt.Println(err)
	// Output:
	// processor "countries": settings.first_match_only: want boolean
	// settings.hue: unknown setting
}

func ExamplePermanent() {
	err := processor.Permanent(fmt.Errorf("company.domain: missing"))
	fmt.Println(processor.IsPermanent(err), err)
	// Output: true company.domain: missing
}
