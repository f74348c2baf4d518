package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"
)

// DefaultTolerance is how far a signed timestamp may be from now, in both directions, as Svix has it.
const DefaultTolerance = 5 * time.Minute

// Standard verifies and signs Standard Webhooks, with the headers of Svix or with those of the specification.
type Standard struct {
	keys      []*svix.Webhook
	tolerance time.Duration
}

// NewStandard returns the scheme for secrets of the form "whsec_" + base64, the prefix optional. Zero tolerance
// is [DefaultTolerance]. It returns [ErrSecret] for a secret that is not base64 of at least [MinSecret] bytes.
func NewStandard(secrets Secrets, tolerance time.Duration) (*Standard, error) {
	if err := secrets.check(strongKey); err != nil {
		return nil, fmt.Errorf("standard webhooks: %w", err)
	}
	s := &Standard{tolerance: tolerance}
	if tolerance <= 0 {
		s.tolerance = DefaultTolerance
	}
	for _, secret := range secrets {
		key, err := svix.NewWebhook(secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("standard webhooks: %w", ErrSecret) // the library's error may quote the secret
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

func strongKey(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	return err == nil && len(key) >= MinSecret
}

// The headers come in threes of one family, named in canonical form.
const (
	familySvix     = "Svix"
	familyStandard = "Webhook"
)

// Verify tries the headers of Svix, then those of the specification, each only as a full triple, and returns the
// id of the triple that verified: the ids of other headers were not signed.
func (s *Standard) Verify(r *Request) (string, error) {
	for _, family := range []string{familySvix, familyStandard} {
		id := r.Header.Get(family + "-Id")
		// With a full stop in the id it would not be clear where the signed id ends.
		if id == "" || strings.Contains(id, ".") || !s.timely(r.Header.Get(family+"-Timestamp"), r.Now) {
			continue
		}
		// The library would fall back from one family to the other by itself: show it one only.
		triple := http.Header{
			"Svix-Id":        {id},
			"Svix-Timestamp": {r.Header.Get(family + "-Timestamp")},
			"Svix-Signature": {r.Header.Get(family + "-Signature")},
		}
		for _, key := range s.keys {
			if key.VerifyIgnoringTimestamp(r.Body, triple) == nil {
				return id, nil
			}
		}
	}
	return "", ErrUnauthenticated
}

// timely checks the timestamp here because the library's tolerance and clock are fixed.
func (s *Standard) timely(timestamp string, now time.Time) bool {
	t, err := strconv.ParseInt(timestamp, 10, 64)
	return err == nil && t >= now.Add(-s.tolerance).Unix() && t <= now.Add(s.tolerance).Unix()
}

// Sign sets the webhook-id, webhook-timestamp and webhook-signature headers, with one signature for each secret.
// It returns an error for an id that is empty or contains a full stop.
func (s *Standard) Sign(r *Request, id string) error {
	if id == "" || strings.Contains(id, ".") {
		return errors.New("sign: id is empty or contains a full stop")
	}
	signatures := make([]string, len(s.keys))
	for i, key := range s.keys {
		var err error
		if signatures[i], err = key.Sign(id, r.Now, r.Body); err != nil {
			return fmt.Errorf("sign: %w", err)
		}
	}
	setHeader(r, familyStandard+"-Id", id)
	setHeader(r, familyStandard+"-Timestamp", strconv.FormatInt(r.Now.Unix(), 10))
	setHeader(r, familyStandard+"-Signature", strings.Join(signatures, " "))
	return nil
}

func setHeader(r *Request, name, value string) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(name, value)
}
