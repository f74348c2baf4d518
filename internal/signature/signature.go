// Package signature verifies and signs webhooks; it does no I/O and compares in constant time.
package signature

import (
	"errors"
	"fmt"
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

// Signer authenticates an outgoing request the way a vendor does; each verifier but [Unsigned] is one.
type Signer interface {
	// Sign adds what the matching Verifier wants to the header or the query of r. The id names the delivery
	// where the scheme has one; it must stay the same over retries.
	Sign(r *Request, id string) error
}

// check refuses an empty list and every secret that usable calls too weak. The errors count, they never quote.
func (s Secrets) check(usable func(secret string) bool) error {
	if len(s) == 0 {
		return fmt.Errorf("no secret: %w", ErrSecret)
	}
	for i, secret := range s {
		if !usable(secret.Reveal()) {
			return fmt.Errorf("secret %d: %w", i+1, ErrSecret)
		}
	}
	return nil
}

func longEnough(secret string) bool { return len(secret) >= MinSecret }

// Unsigned returns a verifier that lets every request pass and knows no id: for a source whose endpoint is
// protected by other means, such as a private network.
func Unsigned() Verifier { return unsigned{} }

type unsigned struct{}

func (unsigned) Verify(*Request) (string, error) { return "", nil }
