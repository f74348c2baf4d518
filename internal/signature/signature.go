// Package signature verifies and signs webhooks; it does no I/O and compares in constant time.
package signature

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/usherhq/usher/internal/redact"
)

// ErrUnauthenticated is the only answer to a request that does not verify; it says no more on purpose.
var ErrUnauthenticated = errors.New("unauthenticated")

// ErrSecret marks a secret that is empty or too short. It is returned when a verifier is made.
var ErrSecret = errors.New("secret is empty or too short")

// MinSecret is the fewest bytes of a secret, after decoding where the scheme decodes it.
const MinSecret = 24

// Request is what a verifier sees: raw bytes, before any parsing.
type Request struct {
	Header   http.Header
	Query    url.Values
	Body     []byte
	Endpoint string    // the endpoint's name
	Tenant   string    // the tenant named by the URL's path, or ""
	Now      time.Time // decides whether a timestamp is within tolerance
}

// Verifier authenticates requests.
type Verifier interface {
	// Verify returns the delivery id that the signature covers, "" where the scheme has none, or
	// [ErrUnauthenticated].
	Verify(r *Request) (id string, err error)
}

// Secrets are the secrets in force; several during rotation.
type Secrets []redact.Secret
