package deadletter

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

// Attributes that Pub/Sub adds to what it forwards.
const (
	forwardPrefix       = "CloudPubSubDeadLetterSource"
	forwardSubscription = forwardPrefix + "Subscription"
	forwardCount        = forwardPrefix + "DeliveryCount"
	forwardPublishTime  = forwardPrefix + "TopicPublishTime"
)

// parse makes a record of a message of the dead-letter topic, whatever it is. The same dead letter always gives
// the same id, and so does the same message or webhook parked again.
func parse(m *queue.Message, now time.Time) *Record {
	r := unknown(m)
	if _, ok := m.Attributes[forwardSubscription]; ok {
		r = forwarded(m)
	} else if d, err := envelope.DecodeDeadLetter(m); err == nil && (d.Message != nil || d.Webhook != nil) {
		r = usher(d)
	}
	r.Status = Parked
	r.Class = r.Reason.Class()
	r.ParkedAt = settle(r.ParkedAt)
	if r.ParkedAt.IsZero() {
		r.ParkedAt = settle(m.PublishTime)
	}
	if r.ParkedAt.IsZero() || r.ParkedAt.After(now) {
		r.ParkedAt = settle(now)
	}
	r.ReceivedAt, r.PublishedAt = settle(r.ReceivedAt), settle(r.PublishedAt)
	r.clip()
	r.PayloadBytes = len(r.payload)
	return r
}

// unknown keeps a message as it came.
func unknown(m *queue.Message) *Record {
	return &Record{
		ID: newID("unknown", m.ID, sum(m.Data)), Kind: KindUnknown,
		Reason: envelope.ReasonUndecodable, Class: envelope.ReasonUndecodable.Class(),
		Detail: "not a dead letter", ParkedAt: m.PublishTime, PublishedAt: m.PublishTime, MessageID: m.ID,
		Attributes: m.Attributes, payload: envelope.Compress(m.Data),
	}
}

// forwarded is a message that Pub/Sub gave up on. Its own id is lost on the way, so what is left of it decides.
func forwarded(m *queue.Message) *Record {
	own := maps.Clone(m.Attributes)
	maps.DeleteFunc(own, func(k, _ string) bool { return strings.HasPrefix(k, forwardPrefix) })
	r := &Record{
		ID: newID(string(ReasonForwarded), m.Attributes[forwardSubscription], m.Attributes[forwardPublishTime],
			own[envelope.AttrEvent], sum(m.Data)),
		Kind: KindMessage, Reason: ReasonForwarded, Detail: "delivery attempts are used up", ParkedAt: m.PublishTime,
		TenantID: visitor.TenantID(own[envelope.AttrTenant]), Source: own[envelope.AttrSource],
		EventID: visitor.EventID(own[envelope.AttrEvent]), Attributes: own, payload: envelope.Compress(m.Data),
	}
	// Forwarded from an overflow lane it is what it was before it was shed, or a redrive could never shed it again.
	was := queue.Message{Attributes: own}
	was.Attempt, _ = strconv.Atoi(m.Attributes[forwardCount])
	was.PublishTime, _ = time.Parse(time.RFC3339, m.Attributes[forwardPublishTime])
	original, _ := envelope.Unshed(&was)
	r.Attributes, r.Attempts, r.PublishedAt, r.MessageID = original.Attributes, original.Attempt, original.PublishTime, original.ID
	if env, err := envelope.Decode(&queue.Message{Data: m.Data, Attributes: own}); err == nil {
		ev := env.Event
		r.TenantID, r.Source, r.EventID, r.ReceivedAt = ev.TenantID, ev.Source, ev.ID, ev.Receipt.ReceivedAt
	}
	return r
}

// usher is what usher itself parked.
func usher(d *envelope.DeadLetter) *Record {
	r := &Record{
		Reason: d.Reason, Detail: d.Detail, TenantID: d.TenantID, Source: d.Source, EventID: d.EventID,
		ParkedAt: d.ParkedAt, ReceivedAt: d.ReceivedAt,
	}
	if p := d.Message; p != nil {
		r.Kind, r.MessageID, r.PublishedAt, r.Attempts = KindMessage, p.ID, p.PublishTime, p.Attempts
		r.Attributes, r.payload = p.Attributes, p.Data
		r.ID = newID(string(KindMessage), p.ID, p.PublishTime.UTC().Format(time.RFC3339Nano))
		return r
	}
	w := d.Webhook
	r.Kind, r.Endpoint, r.PathTenant, r.VerifiedID = KindWebhook, w.Endpoint, w.PathTenant, w.VerifiedID
	r.FunctionExecutionID, r.Attributes, r.payload = w.FunctionExecutionID, w.Headers, w.Body
	// The compressed bytes are a compressor's, which a new version may change; the body is the vendor's.
	body, err := envelope.Decompress(w.Body)
	if err != nil {
		body = w.Body
	}
	// Another delivery id or tenant in the URL makes another event of the same body.
	r.ID = newID(string(KindWebhook), w.Endpoint, w.PathTenant, w.VerifiedID, sum(body), d.ReceivedAt.UTC().Format(time.DateOnly))
	return r
}

// clip bounds every text: what was parked is what was wrong, so its ids may be of any length.
func (r *Record) clip() {
	r.Reason, r.Detail = envelope.Reason(clip(string(r.Reason))), clip(r.Detail)
	r.TenantID, r.Source, r.EventID = visitor.TenantID(clip(string(r.TenantID))), clip(r.Source), visitor.EventID(clip(string(r.EventID)))
	r.MessageID, r.Endpoint, r.PathTenant = clip(r.MessageID), clip(r.Endpoint), clip(r.PathTenant)
	r.VerifiedID, r.FunctionExecutionID = clip(r.VerifiedID), clip(r.FunctionExecutionID)
}

// clip cuts a text to what an index holds whole.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= store.MaxIndexed {
		return s
	}
	s = s[:store.MaxIndexed]
	for !utf8.ValidString(s) { // at most three times: it was valid before the cut
		s = s[:len(s)-1]
	}
	return s
}

// settle makes a time one that can be stored; what cannot be is as good as none.
func settle(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Microsecond)
	if y := t.Year(); t.IsZero() || y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return string(h[:])
}

// newID hashes parts, each with its length, so that no two lists of parts are the same.
func newID(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return "dl_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:20]))
}
