package resolve

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/source"
)

// identify derives the event's id: from the vendor's id in the body, else from the delivery id that verified,
// else from the record itself, whose identity then ends with the vendor's retry window.
func identify(ep *Endpoint, verifiedID string, rec *source.Record, index int) error {
	ev := &rec.Event
	key := rec.VendorID
	if key == "" {
		key = verifiedID
	}
	ev.SourceEventID, ev.RepeatAfterSeconds = key, 0
	if key == "" {
		if len(rec.Canonical) == 0 {
			return unusable("no identity")
		}
		sum := sha256.Sum256(rec.Canonical)
		key = "sha256:" + hex.EncodeToString(sum[:])
		ev.RepeatAfterSeconds = int64(math.Ceil(ep.repeatAfter().Seconds()))
	}
	ev.ID = visitor.NewEventID(ev.Source, ev.TenantID, key, index)
	return nil
}

// settleTime replaces an impossible time of identification by that of the receipt and keeps it as sent.
func settleTime(ev *visitor.Event) {
	at := stamp(ev.IdentifiedAt)
	if visitor.PlausibleTime(at, ev.Receipt.ReceivedAt) {
		ev.IdentifiedAt, ev.SourceTime = at, ""
		return
	}
	if ev.SourceTime == "" && !at.IsZero() {
		ev.SourceTime = at.Format(time.RFC3339Nano)
	}
	ev.IdentifiedAt = ev.Receipt.ReceivedAt
}

// stamp is t as every store keeps it: UTC, microseconds.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
