package envelope_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor/processortest"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
)

const raw = `{"version":"v1","data":{"name":"Ada Example"}}`

func TestEncodeDecode(t *testing.T) {
	t.Parallel()

	for name, payload := range map[string]string{"with raw payload": raw, "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			ev := processortest.Event()
			m, err := envelope.Encode(ev, []byte(payload))
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"tenant_id": "acme", "event_type": "visitor_identified", "event_id": string(ev.ID), "source": "midbound", "schema": "1.0",
			}
			if diff := cmp.Diff(want, m.Attributes); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if err := queue.CheckMessage(m); err != nil {
				t.Errorf("message cannot be published: %v", err)
			}
			env, err := envelope.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ev, env.Event); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if (len(env.Raw) > 0) != (payload != "") {
				t.Fatalf("%d bytes of raw payload for %d", len(env.Raw), len(payload))
			}
			got, err := envelope.Decompress(env.Raw)
			if err != nil || string(got) != payload {
				t.Errorf("raw payload = %q, %v, want %q", got, err, payload)
			}
		})
	}
}

// TestEncode_rawStaysBeside: nothing that reads the event can come by the raw payload.
func TestEncode_rawStaysBeside(t *testing.T) {
	t.Parallel()

	m, err := envelope.Encode(processortest.Event(), []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(m.Data, &body); err != nil {
		t.Fatal(err)
	}
	alone, err := visitor.Encode(processortest.Event())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(alone), string(body["event"])); diff != "" {
		t.Errorf("event in the envelope is not the event alone (-want +got):\n%s", diff)
	}
	if len(body) != 3 || string(body["raw_encoding"]) != `"zstd"` {
		t.Errorf("envelope has %d members, raw_encoding %s; want 3 and zstd", len(body), body["raw_encoding"])
	}
}

func TestEncode_refuses(t *testing.T) {
	t.Parallel()

	ev := processortest.Event()
	ev.TenantID = "a/b"
	if _, err := envelope.Encode(ev, nil); !errors.Is(err, visitor.ErrMalformed) {
		t.Errorf("Encode with a forbidden tenant = %v, want ErrMalformed", err)
	}
	ev = processortest.Event()
	ev.Attribution.ExtraOptions = map[string]any{"f": func() {}}
	if _, err := envelope.Encode(ev, nil); !errors.Is(err, visitor.ErrMalformed) {
		t.Errorf("Encode of what JSON cannot hold = %v, want ErrMalformed", err)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()

	const event = `{"schema":"1.0","id":"evt_a","tenant_id":"acme","source":"s","receipt":{"received_at":"2026-02-03T10:11:12Z"}}`
	newer := strings.Replace(event, "1.0", "2.0", 1)
	tests := []struct {
		name    string
		data    string
		attrs   map[string]string
		wantErr error
	}{
		{"event alone", `{"event":` + event + `}`, nil, nil},
		{"unknown members", `{"event":` + event + `,"new":{}}`, nil, nil},
		{"attributes are not needed", `{"event":` + event + `}`, map[string]string{"schema": ""}, nil},
		{"newer minor", `{"event":` + event + `}`, map[string]string{"schema": "1.9"}, nil},
		{"newer by attribute, whatever the body", `?`, map[string]string{"schema": "2.0"}, visitor.ErrNewerSchema},
		{"newer by body", `{"event":` + newer + `}`, nil, visitor.ErrNewerSchema},
		{"newer by body with a changed type", `{"event":{"schema":"2.0","id":7}}`, nil, visitor.ErrNewerSchema},
		{"newer by body with a changed envelope", `{"event":` + newer + `,"raw":{}}`, nil, visitor.ErrNewerSchema},
		{"changed type in this major", `{"event":{"schema":"1.0","id":7}}`, nil, visitor.ErrMalformed},
		{"no event", `{"raw":""}`, nil, visitor.ErrMalformed},
		{"null event", `{"event":null}`, nil, visitor.ErrMalformed},
		{"null", `null`, nil, visitor.ErrMalformed},
		{"nothing", ``, nil, visitor.ErrMalformed},
		{"not JSON", `ada@acme.example`, nil, visitor.ErrMalformed},
		{"an event without envelope", event, nil, visitor.ErrMalformed},
		{"incomplete event", `{"event":{"schema":"1.0"}}`, nil, visitor.ErrMalformed},
		{"unknown encoding", `{"event":` + event + `,"raw":"AAAA","raw_encoding":"br"}`, nil, visitor.ErrMalformed},
		{"raw without encoding", `{"event":` + event + `,"raw":"AAAA"}`, nil, visitor.ErrMalformed},
		{"a name twice", `{"event":` + strings.Replace(event, `"source":"s"`, `"source":"s","source":"t"`, 1) + `}`, nil, visitor.ErrMalformed},
		{"not UTF-8", `{"event":` + strings.Replace(event, `"s"`, "\"\xff\"", 1) + `}`, nil, visitor.ErrMalformed},
		{"raw not base64", `{"event":` + event + `,"raw":"ada@","raw_encoding":"zstd"}`, nil, visitor.ErrMalformed},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			env, err := envelope.Decode(&queue.Message{Data: []byte(tc.data), Attributes: tc.attrs})
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("Decode error = %v, want %v", err, tc.wantErr)
			}
			if tc.wantErr == nil {
				if env.Event.ID != "evt_a" {
					t.Errorf("Decode gave id %q, want evt_a", env.Event.ID)
				}
				return
			}
			if env != nil {
				t.Error("Decode returned an envelope beside an error")
			}
			if strings.Contains(err.Error(), "ada") {
				t.Errorf("error quotes the message: %v", err)
			}
		})
	}
}

// TestDecode_keepsTheEventAsSent: also members that this build does not know.
func TestDecode_keepsTheEventAsSent(t *testing.T) {
	t.Parallel()

	const event = `{ "schema":"1.9","id":"evt_a","tenant_id":"acme","source":"s","receipt":{"received_at":"2026-02-03T10:11:12Z"},"new":[1, {}]}`
	for _, data := range []string{
		`{"event":` + event + `}`, `{"event" : ` + "\n\t" + event + ` , "raw":""}`, `{"raw_encoding":"","event":` + event + ` }`,
	} {
		env, err := envelope.Decode(&queue.Message{Data: []byte(data)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(event, string(env.JSON)); diff != "" {
			t.Errorf("event as sent (-want +got):\n%s", diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	m, err := envelope.Encode(processortest.Event(), []byte(raw))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Data, "1.0")
	f.Add([]byte(`{"event":{"schema":"2.0","id":7}}`), "")
	f.Fuzz(func(t *testing.T, data []byte, schema string) {
		env, err := envelope.Decode(&queue.Message{Data: data, Attributes: map[string]string{"schema": schema}})
		switch {
		case err == nil:
			if err := env.Event.Check(); err != nil {
				t.Fatalf("Decode gave an event that Check refuses: %v", err)
			}
			if !json.Valid(env.JSON) || env.JSON[0] != '{' {
				t.Fatal("Decode gave an event without its JSON")
			}
		case !errors.Is(err, visitor.ErrMalformed) && !errors.Is(err, visitor.ErrNewerSchema):
			t.Fatalf("Decode error of no known kind: %v", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	ev, payload := processortest.Event(), []byte(strings.Repeat(raw, 40))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Encode(ev, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m, err := envelope.Encode(processortest.Event(), []byte(strings.Repeat(raw, 40)))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}
