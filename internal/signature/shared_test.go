package signature_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/signature"
)

const (
	header    = "X-Webhook-Signature"
	hexSig    = "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"
	oldSecret = redact.Secret("0123456789abcdef01234567")
)

func TestHMACHex(t *testing.T) {
	t.Parallel()
	v, err := signature.NewHMACHex("x-webhook-signature", signature.Secrets{oldSecret, vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"with prefix", "sha256=" + hexSig, true},
		{"without prefix", hexSig, true},
		{"upper case", strings.ToUpper(hexSig), true},
		{"missing", "", false},
		{"prefix only", "sha256=", false},
		{"cut", hexSig[:62], false},
		{"longer", hexSig + "00", false},
		{"other", strings.Repeat("0", 64), false},
		{"no hex", strings.Repeat("x", 64), false},
		{"the secret itself", vectorSecret, false},
	} {
		r := &signature.Request{Header: http.Header{}, Body: []byte(vectorBody)}
		r.Header.Set(header, tt.value)
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkVerify(t, v, r, tt.ok, "")
		})
	}
	r := &signature.Request{Header: http.Header{}, Body: []byte(vectorBody + " ")}
	r.Header.Set(header, hexSig)
	checkVerify(t, v, r, false, "")
}

func TestSharedSecret(t *testing.T) {
	t.Parallel()
	v, err := signature.NewSharedSecret(header, signature.Secrets{oldSecret, vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	for value, ok := range map[string]bool{
		vectorSecret: true, oldSecret.Reveal(): true, "": false, vectorSecret[:30]: false, vectorSecret + "a": false,
	} {
		r := &signature.Request{Header: http.Header{}}
		r.Header.Set(header, value)
		checkVerify(t, v, r, ok, "")
	}
}

func TestURLToken(t *testing.T) {
	t.Parallel()
	v, err := signature.NewURLToken(signature.Secrets{oldSecret, vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	token := signature.URLToken(vectorSecret, "mdb", "acme")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, token, endpoint, tenant string
		ok                            bool
	}{
		{"base64url", token, "mdb", "acme", true},
		{"padded", token + "=", "mdb", "acme", true},
		{"hexadecimal", hex.EncodeToString(raw), "mdb", "acme", true},
		{"old secret", signature.URLToken(oldSecret, "mdb", "acme"), "mdb", "acme", true},
		{"no tenant", signature.URLToken(vectorSecret, "mdb", ""), "mdb", "", true},
		{"other tenant", token, "mdb", "other", false},
		{"tenant left out", token, "mdb", "", false},
		{"other endpoint", token, "mdb2", "acme", false},
		{"tenant added", signature.URLToken(vectorSecret, "mdb", ""), "mdb", "acme", false},
		{"border moved", signature.URLToken(vectorSecret, "a", "b/c"), "a/b", "c", false},
		{"missing", "", "mdb", "acme", false},
		{"the secret itself", vectorSecret, "mdb", "acme", false},
		{"other", strings.Repeat("0", 64), "mdb", "acme", false},
		{"no hexadecimal", strings.Repeat("x", 64), "mdb", "acme", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &signature.Request{Query: url.Values{"token": {tt.token}}, Endpoint: tt.endpoint, Tenant: tt.tenant}
			checkVerify(t, v, r, tt.ok, "")
		})
	}
}

func TestWeakSecrets(t *testing.T) {
	t.Parallel()
	for _, secrets := range []signature.Secrets{nil, {""}, {"short"}, {vectorSecret, oldSecret[:signature.MinSecret-1]}} {
		_, errHex := signature.NewHMACHex(header, secrets)
		_, errShared := signature.NewSharedSecret(header, secrets)
		_, errToken := signature.NewURLToken(secrets)
		for _, err := range []error{errHex, errShared, errToken} {
			if !errors.Is(err, signature.ErrSecret) {
				t.Errorf("%d secrets: %v, want ErrSecret", len(secrets), err)
			}
		}
	}
	if _, err := signature.NewHMACHex("", signature.Secrets{vectorSecret}); err == nil {
		t.Error("NewHMACHex without header: no error")
	}
	if _, err := signature.NewSharedSecret("", signature.Secrets{vectorSecret}); err == nil {
		t.Error("NewSharedSecret without header: no error")
	}
}

func TestSignersMatchVerifiers(t *testing.T) {
	t.Parallel()
	secrets := signature.Secrets{vectorSecret, oldSecret}
	hmacHex, err := signature.NewHMACHex(header, secrets)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := signature.NewSharedSecret(header, secrets)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signature.NewURLToken(secrets)
	if err != nil {
		t.Fatal(err)
	}
	type scheme interface {
		signature.Signer
		signature.Verifier
	}
	for _, s := range []scheme{hmacHex, shared, token, standard(t, 0, vectorSecret)} {
		t.Run(fmt.Sprintf("%T", s), func(t *testing.T) {
			t.Parallel()
			r := &signature.Request{Body: []byte(vectorBody), Now: time.Unix(vectorTime, 0), Endpoint: "mdb", Tenant: "acme"}
			checkVerify(t, s, r, false, "")
			if err := s.Sign(r, "msg_1"); err != nil {
				t.Fatal(err)
			}
			want := ""
			if _, ok := s.(*signature.Standard); ok {
				want = "msg_1"
			}
			checkVerify(t, s, r, true, want)
		})
	}
	r := &signature.Request{Body: []byte(vectorBody)}
	if err := hmacHex.Sign(r, ""); err != nil || r.Header.Get(header) != "sha256="+hexSig {
		t.Errorf("hmac hex signature = %q, %v", r.Header.Get(header), err)
	}
}

func TestUnsigned(t *testing.T) {
	t.Parallel()
	// An unsigned header is never an identity.
	r := &signature.Request{Header: http.Header{"Svix-Id": {"msg_1"}}}
	checkVerify(t, signature.Unsigned(), r, true, "")
}

func BenchmarkStandard(b *testing.B) {
	s, err := signature.NewStandard(signature.Secrets{vectorSecret}, 0)
	if err != nil {
		b.Fatal(err)
	}
	r := &signature.Request{Body: make([]byte, 5<<10), Now: time.Unix(vectorTime, 0)}
	if err := s.Sign(r, vectorID); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(r.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

// A vendor's webhook is checked over the bytes as they came, before anything reads them.
func ExampleStandard_Verify() {
	verifier, err := signature.NewStandard(signature.Secrets{vectorSecret}, signature.DefaultTolerance)
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &signature.Request{Header: http.Header{}, Body: []byte(vectorBody), Now: time.Unix(vectorTime, 0)}
	r.Header.Set("svix-id", vectorID)
	r.Header.Set("svix-timestamp", "1614265330")
	r.Header.Set("svix-signature", vectorSig)
	fmt.Println(verifier.Verify(r))
	// Output: msg_p5jXN8AQM9LWM0D4loKWxJek <nil>
}
