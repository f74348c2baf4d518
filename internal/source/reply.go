package source

import (
	"net/http"

	"github.com/usherhq/usher/consumer/visitor"
)

// Success is the body of a positive answer.
type Success struct {
	Success bool            `json:"success"` // always true
	EventID visitor.EventID `json:"event_id,omitempty"`
}

// Failure is the body of a negative answer; Error is static text.
type Failure struct {
	Error string `json:"error"`
}

// OK is the answer 200 for a result.
func OK(r Result) Reply { return Reply{http.StatusOK, Success{true, r.EventID}} }

// Fail is a negative answer.
func Fail(status int, text string) Reply { return Reply{status, Failure{text}} }

// DefaultReply is the answer to a vendor that has no wishes of its own: what was parked counts as received, so
// that the vendor does not repeat it, and what usher could not keep is to be sent again.
func DefaultReply(r Result) Reply {
	switch r.Outcome {
	case Accepted, AcceptedTest, Parked:
		return OK(r)
	case NoEndpoint:
		return Fail(http.StatusNotFound, "Not found")
	case BadMethod:
		return Fail(http.StatusMethodNotAllowed, "Method not allowed")
	case Unauthenticated:
		return Fail(http.StatusUnauthorized, "Unauthorized")
	case TooLarge:
		return Fail(http.StatusRequestEntityTooLarge, "Payload too large")
	case BadRequest:
		return Fail(http.StatusBadRequest, "Invalid payload")
	case UnsupportedVersion:
		return Fail(http.StatusBadRequest, "Unsupported version")
	case MissingTenant:
		return Fail(http.StatusBadRequest, "Missing tenant_id")
	}
	return Fail(http.StatusServiceUnavailable, "Temporarily unavailable")
}
