package envelope_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
)

func TestDeadLetter_roundTrip(t *testing.T) {
	t.Parallel()

	at := time.Date(2026, 2, 3, 10, 11, 12, 0, time.UTC)
	tests := []struct {
		name      string
		in        envelope.DeadLetter
		wantAttrs map[string]string
	}{
		{
			"parked message",
			envelope.DeadLetter{
				Reason: envelope.ReasonProcessor, Detail: "company.domain: missing", TenantID: "acme", Source: "midbound", EventID: "evt_a",
				ParkedAt: at, ReceivedAt: at.Add(-time.Hour),
				Message: &envelope.ParkedMessage{
					ID: "17", PublishTime: at, Attempts: 3, Attributes: map[string]string{"tenant_id": "acme"}, Data: envelope.Compress([]byte(raw)),
				},
			},
			map[string]string{
				"dead_letter_reason": "processor", "dead_letter_class": "tenant",
				"tenant_id": "acme", "source": "midbound", "event_id": "evt_a",
			},
		},
		{
			"parked webhook, nothing known",
			envelope.DeadLetter{
				Reason: envelope.ReasonUnusable, ParkedAt: at,
				Webhook: &envelope.ParkedWebhook{
					Endpoint: "leadpipe", PathTenant: "acme", VerifiedID: "msg_1",
					Headers: map[string]string{"content-type": "application/json"}, Body: envelope.Compress([]byte(raw)),
				},
			},
			map[string]string{"dead_letter_reason": "unusable", "dead_letter_class": "pipeline"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			m, err := envelope.EncodeDeadLetter(&tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.wantAttrs, m.Attributes); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			got, err := envelope.DecodeDeadLetter(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tc.in, got); diff != "" {
				t.Errorf("dead letter (-want +got):\n%s", diff)
			}
			if got.Class != got.Reason.Class() {
				t.Errorf("class = %q, want that of the reason, %q", got.Class, got.Reason.Class())
			}
		})
	}
}

// TestEncodeDeadLetter_alwaysPublishable: what is parked is what was wrong, so its ids may be wrong too.
func TestEncodeDeadLetter_alwaysPublishable(t *testing.T) {
	t.Parallel()

	for name, tenant := range map[string]visitor.TenantID{
		"not UTF-8":    "acme\xff",
		"too long":     visitor.TenantID(strings.Repeat("x", queue.MaxAttributeValue+1)),
		"forbidden":    "a/b",
		"just fitting": visitor.TenantID(strings.Repeat("x", queue.MaxAttributeValue)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			m, err := envelope.EncodeDeadLetter(&envelope.DeadLetter{
				Reason: envelope.ReasonForbiddenID, TenantID: tenant, Source: string(tenant), EventID: visitor.EventID(tenant),
				Message: &envelope.ParkedMessage{ID: "1", Attributes: map[string]string{"tenant_id": string(tenant)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := queue.CheckMessage(m); err != nil {
				t.Errorf("dead letter cannot be published: %v", err)
			}
			if m.Attributes["dead_letter_reason"] != "forbidden_id" {
				t.Errorf("attributes %v lack the reason", m.Attributes)
			}
			_, named := m.Attributes["tenant_id"]
			if want := name == "forbidden" || name == "just fitting"; named != want {
				t.Errorf("tenant attribute present = %v, want %v", named, want)
			}
			if _, err := envelope.DecodeDeadLetter(m); err != nil {
				t.Errorf("dead letter cannot be read again: %v", err)
			}
		})
	}
}

func TestEncodeDeadLetter_error(t *testing.T) {
	t.Parallel()

	_, err := envelope.EncodeDeadLetter(&envelope.DeadLetter{ParkedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err == nil || !strings.Contains(err.Error(), "encode dead letter") {
		t.Errorf("EncodeDeadLetter with an impossible time = %v, want an error", err)
	}
}

func TestDecodeDeadLetter_errors(t *testing.T) {
	t.Parallel()

	for _, data := range []string{``, `ada@acme.example`, `null`, `{}`, `{"reason":""}`, `{"reason":"stale","parked_at":"ada"}`, `{"reason":7}`} {
		d, err := envelope.DecodeDeadLetter(&queue.Message{Data: []byte(data)})
		if err == nil || d != nil {
			t.Errorf("DecodeDeadLetter(%s) = %v, %v, want an error", data, d, err)
		} else if strings.Contains(err.Error(), "ada") {
			t.Errorf("error quotes the message: %v", err)
		}
	}
}

func TestReason_Class(t *testing.T) {
	t.Parallel()

	classes := map[envelope.Reason]envelope.Class{
		envelope.ReasonUndecodable: envelope.ClassPipeline, envelope.ReasonTooLarge: envelope.ClassPipeline,
		envelope.ReasonForbiddenID: envelope.ClassPipeline, envelope.ReasonStoreRefused: envelope.ClassPipeline,
		envelope.ReasonStale: envelope.ClassPipeline, envelope.ReasonUnusable: envelope.ClassPipeline,
		envelope.ReasonUnknownTenant: envelope.ClassTenant, envelope.ReasonTenantInactive: envelope.ClassTenant,
		envelope.ReasonTenantMismatch: envelope.ClassTenant, envelope.ReasonTenantForbidden: envelope.ClassTenant,
		envelope.ReasonProcessor: envelope.ClassTenant, envelope.ReasonPanic: envelope.ClassPipeline,
	}
	if n := len(envelope.Reasons()); n != len(classes) {
		t.Errorf("%d reasons, %d have a class here", n, len(classes))
	}
	for _, reason := range envelope.Reasons() {
		want := classes[reason]
		if got := reason.Class(); got != want {
			t.Errorf("class of %s = %s, want %s", reason, got, want)
		}
	}
}
