package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/usherhq/usher/internal/redact"
)

var errHeader = errors.New("no header name")

// HMACHex verifies and signs with a header that holds the hexadecimal HMAC-SHA256 of the body, with or without
// "sha256=" before it. The key is the secret as written, "whsec_" included. No time is signed: a replay verifies.
type HMACHex struct {
	header  string
	secrets Secrets
}

// NewHMACHex returns the scheme for a header. It returns [ErrSecret] for a secret under [MinSecret] bytes.
func NewHMACHex(header string, secrets Secrets) (*HMACHex, error) {
	if err := checkShared(header, secrets); err != nil {
		return nil, fmt.Errorf("hmac hex: %w", err)
	}
	return &HMACHex{header, secrets}, nil
}

func checkShared(header string, secrets Secrets) error {
	if header == "" {
		return errHeader
	}
	return secrets.check(longEnough)
}

// Verify implements [Verifier]; the scheme has no id.
func (h *HMACHex) Verify(r *Request) (string, error) {
	got, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get(h.header), "sha256="))
	if err != nil {
		return "", ErrUnauthenticated
	}
	return "", anyOf(h.secrets, func(s redact.Secret) bool { return hmac.Equal(got, mac(s, r.Body)) })
}

// Sign implements [Signer] with the first secret.
func (h *HMACHex) Sign(r *Request, _ string) error {
	setHeader(r, h.header, "sha256="+hex.EncodeToString(mac(h.secrets[0], r.Body)))
	return nil
}

// SharedSecret verifies and signs with a header that holds the secret itself.
type SharedSecret struct {
	header  string
	secrets Secrets
}

// NewSharedSecret returns the scheme for a header. It returns [ErrSecret] for a secret under [MinSecret] bytes.
func NewSharedSecret(header string, secrets Secrets) (*SharedSecret, error) {
	if err := checkShared(header, secrets); err != nil {
		return nil, fmt.Errorf("shared secret: %w", err)
	}
	return &SharedSecret{header, secrets}, nil
}

// Verify implements [Verifier]; the scheme has no id.
func (h *SharedSecret) Verify(r *Request) (string, error) {
	got := sha256.Sum256([]byte(r.Header.Get(h.header))) // equal lengths: the comparison tells nothing of the length
	return "", anyOf(h.secrets, func(s redact.Secret) bool {
		want := sha256.Sum256([]byte(s.Reveal()))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	})
}

// Sign implements [Signer] with the first secret.
func (h *SharedSecret) Sign(r *Request, _ string) error {
	setHeader(r, h.header, h.secrets[0].Reveal())
	return nil
}

// TokenParam is the query parameter of [URLTokens].
const TokenParam = "token"

// URLTokens verifies and signs with a token in the query that belongs to one URL: to an endpoint and the tenant
// in its path. It is for vendors whose form takes nothing but a URL.
type URLTokens struct{ secrets Secrets }

// NewURLToken returns the scheme. It returns [ErrSecret] for a secret under [MinSecret] bytes.
func NewURLToken(secrets Secrets) (*URLTokens, error) {
	if err := secrets.check(longEnough); err != nil {
		return nil, fmt.Errorf("url token: %w", err)
	}
	return &URLTokens{secrets}, nil
}

// URLToken is the token of an endpoint's URL: the HMAC-SHA256 of "endpoint/tenant", of "endpoint/" where the
// path names no tenant, in unpadded base64url. Verify also accepts it in hexadecimal, as openssl prints it.
func URLToken(secret redact.Secret, endpoint, tenant string) string {
	return base64.RawURLEncoding.EncodeToString(urlMAC(secret, endpoint, tenant))
}

// An endpoint's name has no slash, so the text has only one reading.
func urlMAC(secret redact.Secret, endpoint, tenant string) []byte {
	return mac(secret, []byte(endpoint+"/"+tenant))
}

// Verify implements [Verifier]; the scheme has no id.
func (u *URLTokens) Verify(r *Request) (string, error) {
	got, ok := decodeToken(r.Query.Get(TokenParam))
	if !ok || strings.Contains(r.Endpoint, "/") {
		return "", ErrUnauthenticated
	}
	return "", anyOf(u.secrets, func(s redact.Secret) bool { return hmac.Equal(got, urlMAC(s, r.Endpoint, r.Tenant)) })
}

// Sign implements [Signer] with the first secret.
func (u *URLTokens) Sign(r *Request, _ string) error {
	if r.Query == nil {
		r.Query = url.Values{}
	}
	r.Query.Set(TokenParam, URLToken(u.secrets[0], r.Endpoint, r.Tenant))
	return nil
}

func decodeToken(token string) ([]byte, bool) {
	if len(token) == hex.EncodedLen(sha256.Size) {
		b, err := hex.DecodeString(token)
		return b, err == nil
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(token, "="))
	return b, err == nil
}

func mac(secret redact.Secret, message []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write(message)
	return h.Sum(nil)
}

// anyOf tries every secret, so that the time taken does not tell which one matched.
func anyOf(secrets Secrets, match func(redact.Secret) bool) error {
	err := ErrUnauthenticated
	for _, s := range secrets {
		if match(s) {
			err = nil
		}
	}
	return err
}
