package queue

import (
	"regexp"
	"strings"
	"time"

	"github.com/usherhq/usher/internal/code"
)

// Limits of Pub/Sub that a subscription must keep.
const (
	MinAckDeadline = 10 * time.Second
	MaxAckDeadline = 600 * time.Second
	MaxRetryDelay  = 600 * time.Second
	MinAttempts    = 5
	MaxAttempts    = 100
	MinRetention   = 10 * time.Minute
	MaxRetention   = 31 * 24 * time.Hour
)

// namePattern is Pub/Sub's rule for the names of topics and subscriptions.
var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

// CheckTopology reports, before any RPC, what the service would refuse of a topology: code.Invalid. Both
// drivers call it.
func CheckTopology(t Topology) error {
	for _, name := range t.Topics {
		if !validName(name) {
			return code.New(code.Invalid, "create topic: name out of rules", nil)
		}
	}
	for i := range t.Subscriptions {
		if err := checkSubscription(&t.Subscriptions[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkSubscription(s *SubscriptionSpec) error {
	const op = "create subscription: "
	switch {
	case !validName(s.Name), !validName(s.Topic):
		return code.New(code.Invalid, op+"name out of rules", nil)
	case s.AckDeadline != 0 && (s.AckDeadline < MinAckDeadline || s.AckDeadline > MaxAckDeadline):
		return code.New(code.Invalid, op+"ack deadline out of limits", nil)
	case s.MinBackoff < 0, s.MaxBackoff > MaxRetryDelay, s.MaxBackoff < s.MinBackoff:
		return code.New(code.Invalid, op+"backoff out of limits", nil)
	case s.Retention != 0 && (s.Retention < MinRetention || s.Retention > MaxRetention):
		return code.New(code.Invalid, op+"retention out of limits", nil)
	case s.DeadLetterTopic == "" && s.MaxAttempts != 0:
		return code.New(code.Invalid, op+"attempts without dead-letter topic", nil)
	case s.DeadLetterTopic != "" && !validName(s.DeadLetterTopic):
		return code.New(code.Invalid, op+"name out of rules", nil)
	case s.DeadLetterTopic != "" && (s.MaxAttempts < MinAttempts || s.MaxAttempts > MaxAttempts):
		return code.New(code.Invalid, op+"attempts out of limits", nil)
	}
	return nil
}

func validName(name string) bool {
	return namePattern.MatchString(name) && !strings.HasPrefix(name, "goog")
}
