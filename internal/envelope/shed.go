package envelope

import (
	"maps"
	"strconv"
	"time"

	"github.com/usherhq/usher/internal/queue"
)

// Attribute names that a message has on an overflow lane besides its own.
const (
	AttrShedReason          = "usher_shed_reason" // what the main lane was full of: messages or bytes
	AttrOriginalID          = "usher_original_id"
	AttrOriginalPublishTime = "usher_original_publish_time" // RFC 3339 with nanoseconds
	AttrOriginalAttempts    = "usher_original_attempts"     // delivery attempts before it was shed
)

// Shed returns a received message as it is published again on an overflow lane.
func Shed(m *queue.Message, reason string) *queue.Message {
	attrs := make(map[string]string, len(m.Attributes)+4)
	maps.Copy(attrs, m.Attributes)
	attrs[AttrShedReason] = reason
	attrs[AttrOriginalID] = m.ID
	attrs[AttrOriginalPublishTime] = m.PublishTime.UTC().Format(time.RFC3339Nano)
	attrs[AttrOriginalAttempts] = strconv.Itoa(m.Attempt)
	return &queue.Message{Data: m.Data, Attributes: attrs}
}

// Unshed returns a message as it was before it was shed, with the attempts of both lanes summed, and whether it was
// shed at all: what was not is returned as it is.
func Unshed(m *queue.Message) (original *queue.Message, shed bool) {
	if _, shed = m.Attributes[AttrShedReason]; !shed {
		return m, false
	}
	o := *m
	o.Attributes = maps.Clone(m.Attributes)
	for _, name := range []string{AttrShedReason, AttrOriginalID, AttrOriginalPublishTime, AttrOriginalAttempts} {
		delete(o.Attributes, name)
	}
	if id := m.Attributes[AttrOriginalID]; id != "" {
		o.ID = id
	}
	if at, err := time.Parse(time.RFC3339Nano, m.Attributes[AttrOriginalPublishTime]); err == nil {
		o.PublishTime = at
	}
	if n, err := strconv.Atoi(m.Attributes[AttrOriginalAttempts]); err == nil && n > 0 {
		o.Attempt += n
	}
	return &o, true
}
