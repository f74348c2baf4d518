package dispatch_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
)

func TestOneLinePerMessage(t *testing.T) {
	t.Parallel()
	common := []string{"duration_ms", "level", "message_id", "msg", "outcome", "time"}
	ids := []string{"event_id", "source", "tenant_id"}
	no := processor.Permanent(errors.New("no"))
	tests := []struct {
		name  string
		own   *custom
		do    func(b *bench)
		level string
		also  []string
	}{
		{"stored", nil, func(b *bench) { b.Handle(t.Context(), good(t)) }, "INFO", append(ids, "delivery_attempt", "first_match")},
		{"duplicate", nil, func(b *bench) {
			b.Handle(t.Context(), good(t))
			b.logs.buf.Reset()
			b.Handle(t.Context(), good(t))
		}, "INFO", append(ids, "delivery_attempt")},
		{"filtered", &custom{"own", func(*visitor.Event) (processor.Result, error) { return processor.Result{Stop: true}, nil }}, func(b *bench) {
			m := good(t)
			m.Attempt = 0
			b.Handle(t.Context(), m)
		}, "INFO", ids},
		{"parked", failing(no), func(b *bench) { b.Handle(t.Context(), good(t)) }, "WARN", append(ids, "delivery_attempt", "reason", "class", "error")},
		{"parked", nil, func(b *bench) { b.Handle(t.Context(), raw("{")(t)) }, "WARN", []string{"reason", "class", "error"}},
		{"held", nil, func(b *bench) { b.Handle(t.Context(), of("off", 0)(t)) }, "INFO", append(ids, "delivery_attempt")},
		{"discarded_inactive", nil, func(b *bench) { b.Handle(t.Context(), of("gone", 0)(t)) }, "INFO", append(ids, "delivery_attempt")},
		{"nacked", failing(errors.New("later")), func(b *bench) { b.Handle(t.Context(), good(t)) }, "WARN", append(ids, "delivery_attempt", "error")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tt.own)
			tt.do(b)
			lines := b.logs.lines(t)
			if len(lines) != 1 {
				t.Fatalf("%d lines", len(lines))
			}
			want := append(slices.Clone(common), tt.also...)
			slices.Sort(want)
			if d := cmp.Diff(want, slices.Sorted(maps.Keys(lines[0]))); d != "" {
				t.Errorf("keys (-want +got):\n%s", d)
			}
			if lines[0]["level"] != tt.level || lines[0]["outcome"] != tt.name || lines[0]["message_id"] != "m1" {
				t.Errorf("line %v", lines[0])
			}
		})
	}
}

func TestSuccessIsSampled(t *testing.T) {
	t.Parallel()
	const messages = 400
	for share, want := range map[float64][2]int{0: {0, 0}, 0.5: {messages / 4, 3 * messages / 4}, 1: {messages, messages}} {
		b := setup(t, nil, func(o *dispatch.Options) { o.SuccessSample = share })
		for range messages {
			b.Handle(t.Context(), good(t))
		}
		if n := len(b.logs.lines(t)); n < want[0] || n > want[1] {
			t.Errorf("share %v: %d lines of %d", share, n, messages)
		}
		b.Handle(t.Context(), of("odd", 0)(t))
		if !strings.Contains(b.logs.String(), "tenant_inactive") {
			t.Errorf("share %v: a parked message was not logged", share)
		}
	}
}

// TestNothingPersonalInLogs is promise P8: whatever goes wrong, neither logs nor what describes a dead letter
// hold anything of the person.
func TestNothingPersonalInLogs(t *testing.T) {
	t.Parallel()
	for _, tt := range verdicts {
		b := setup(t, tt.own)
		if tt.options != nil {
			b = setup(t, tt.own, tt.options)
		}
		if tt.setup != nil {
			tt.setup(b)
		}
		m := good(t)
		if tt.message != nil {
			m = tt.message(t)
		}
		b.Handle(t.Context(), m)
		checkImpersonal(t, tt.name, b)
	}
	leaks := map[string]func(ev *visitor.Event){
		"panic with the event": func(ev *visitor.Event) { panic(ev) },
		"panic with an error":  func(ev *visitor.Event) { panic(fmt.Errorf("bad %v", ev.Person)) },
		"panic with a text":    func(ev *visitor.Event) { panic(ev.Person.Emails[0].Address) },
	}
	for name, leak := range leaks {
		b := setup(t, &custom{"own", func(ev *visitor.Event) (processor.Result, error) {
			leak(ev)
			return processor.Result{}, nil
		}})
		b.Handle(t.Context(), good(t))
		checkImpersonal(t, name, b)
	}
	for name, data := range map[string]string{
		"broken JSON":     `{"event":{"person":{"first_name":"Ada Exampleson","emails":"ada@example.com 192.0.2.77`,
		"wrong type":      `{"event":{"schema":"1.0","person":{"age":{"x":"ada@example.com"}},"identified_at":"Exampleson 192.0.2.77"}}`,
		"broken cookbook": `{"mdb_data":{"email":"ada@example.com"},"pixel_options":{"tenant_id":"Ada Exampleson"},"x":192.0.2.77}`,
		"cookbook":        `{"mdb_data":{"email":"ada@example.com","ip":"192.0.2.77"},"pixel_options":{"tenant_id":"Ada Exampleson"}}`,
	} {
		b := setup(t, nil)
		m := raw(data)(t)
		delete(m.Attributes, envelope.AttrTenant)
		b.Handle(t.Context(), m)
		if b.Stats()["parked"] != 1 {
			t.Errorf("%s: %v", name, b.Stats())
		}
		checkImpersonal(t, name, b)
	}
}

func checkImpersonal(t *testing.T, name string, b *bench) {
	t.Helper()
	text := b.logs.String()
	for _, m := range b.letters.sent {
		d, err := envelope.DecodeDeadLetter(m)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprint(d.Detail, m.Attributes)
	}
	if text == "" {
		t.Errorf("%s: nothing was logged", name)
	}
	for _, secret := range []string{"ada@", "example.com", "Ada", "Exampleson", "192.0.2.77"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: %q is in %s", name, secret, text)
		}
	}
}
