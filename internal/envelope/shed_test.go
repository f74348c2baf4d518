package envelope_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
)

func TestShed_roundTrip(t *testing.T) {
	t.Parallel()

	at := time.Date(2026, 2, 3, 10, 11, 12, 345678901, time.UTC)
	was := queue.Message{
		ID: "17", PublishTime: at, Attempt: 3, Data: []byte("body"), Attributes: map[string]string{"tenant_id": "acme"},
	}
	out := envelope.Shed(&was, "bytes")
	want := map[string]string{
		"tenant_id": "acme", "usher_shed_reason": "bytes", "usher_original_id": "17",
		"usher_original_publish_time": "2026-02-03T10:11:12.345678901Z", "usher_original_attempts": "3",
	}
	if diff := cmp.Diff(want, out.Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if len(was.Attributes) != 1 {
		t.Errorf("the message itself was changed: %v", was.Attributes)
	}
	out.ID, out.PublishTime, out.Attempt = "99", at.Add(time.Hour), 2 // as the other lane delivers it
	got, shed := envelope.Unshed(out)
	was.Attempt = 5
	if diff := cmp.Diff(&was, got); diff != "" || !shed {
		t.Errorf("shed %v, message (-want +got):\n%s", shed, diff)
	}
	if len(out.Attributes) != len(want) {
		t.Errorf("the received message was changed: %v", out.Attributes)
	}
}

func TestUnshed_leavesOthersAlone(t *testing.T) {
	t.Parallel()

	for _, attrs := range []map[string]string{nil, {"tenant_id": "acme"}, {"usher_original_id": "1"}} {
		m := &queue.Message{ID: "17", Attributes: attrs}
		if got, shed := envelope.Unshed(m); shed || got != m {
			t.Errorf("%v: shed %v", attrs, shed)
		}
	}
}

// TestUnshed_damaged: what cannot be read is as the lane says it, and nothing of it stays.
func TestUnshed_damaged(t *testing.T) {
	t.Parallel()

	for _, bad := range []string{"", "x", "-1"} {
		m := &queue.Message{ID: "99", PublishTime: time.Unix(1, 0), Attempt: 2, Attributes: map[string]string{
			"usher_shed_reason": bad, "usher_original_publish_time": bad, "usher_original_attempts": bad,
		}}
		want := &queue.Message{ID: "99", PublishTime: time.Unix(1, 0), Attempt: 2, Attributes: map[string]string{}}
		got, shed := envelope.Unshed(m)
		if diff := cmp.Diff(want, got); diff != "" || !shed {
			t.Errorf("%q: shed %v (-want +got):\n%s", bad, shed, diff)
		}
	}
	only := map[string]string{"usher_shed_reason": "messages"}
	if got, _ := envelope.Unshed(&queue.Message{Attributes: maps.Clone(only)}); len(got.Attributes) != 0 {
		t.Errorf("attributes %v stay", got.Attributes)
	}
}
