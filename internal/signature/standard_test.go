package signature_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/signature"
)

// The official vector of Standard Webhooks and Svix.
const (
	vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime   = 1614265330
	vectorBody   = `{"test": 2432232314}`
	vectorSig    = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func standard(t *testing.T, tolerance time.Duration, secrets ...redact.Secret) *signature.Standard {
	t.Helper()
	s, err := signature.NewStandard(secrets, tolerance)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request is the vector under one family of headers, received when it was sent.
func request(family string) *signature.Request {
	r := &signature.Request{Header: http.Header{}, Body: []byte(vectorBody), Now: time.Unix(vectorTime, 0)}
	setTriple(r, family, vectorID, strconv.Itoa(vectorTime), vectorSig)
	return r
}

func setTriple(r *signature.Request, family, id, timestamp, sig string) {
	r.Header.Set(family+"-id", id)
	r.Header.Set(family+"-timestamp", timestamp)
	r.Header.Set(family+"-signature", sig)
}

func TestStandardVectors(t *testing.T) {
	t.Parallel()
	const bad = "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
	header := func(name, value string) func(*signature.Request, string) {
		return func(r *signature.Request, family string) { r.Header.Set(family+"-"+name, value) }
	}
	received := func(d time.Duration) func(*signature.Request, string) {
		return func(r *signature.Request, _ string) { r.Now = r.Now.Add(d) }
	}
	for _, tt := range []struct {
		name   string
		change func(r *signature.Request, family string)
		ok     bool
	}{
		{"vector", func(*signature.Request, string) {}, true},
		{"several signatures", header("signature", "v1,"+bad+" v2,"+bad+" "+vectorSig+" v1,"+bad), true},
		{"with asymmetric signature", header("signature", "v1a,"+bad+" "+vectorSig), true},
		{"4m59s old", received(5*time.Minute - time.Second), true},
		{"4m59s early", received(time.Second - 5*time.Minute), true},
		{"no id", header("id", ""), false},
		{"no timestamp", header("timestamp", ""), false},
		{"no signature", header("signature", ""), false},
		{"wrong signature", header("signature", "v1,"+bad), false},
		{"empty signature", header("signature", "v1,"), false},
		{"partial signature", header("signature", "v1,dawfeoifkpqwoekfpqoekf"), false},
		{"signature without version", header("signature", vectorSig[3:]), false},
		{"other version", header("signature", "v2,"+vectorSig[3:]), false},
		{"key not decoded", header("signature", "v1,ELhqG0Ku1gwOc1f4jyKdp3SFGFLAOdJ9bvpWLciCakI="), false},
		{"empty key", header("signature", "v1,woH/1mJtZGSMCmpFTxRYbStS24eLLD/oXIYr4PYyZ7g="), false},
		{"too old", received(5*time.Minute + time.Second), false},
		{"too new", received(-5*time.Minute - time.Second), false},
		{"other timestamp", header("timestamp", strconv.Itoa(vectorTime+1)), false},
		{"no number", header("timestamp", "now"), false},
		{"overflow", header("timestamp", "9223372036854775807"), false},
		{"other id", header("id", "msg_other"), false},
		{"other body", func(r *signature.Request, _ string) { r.Body = append(r.Body, ' ') }, false},
		// Svix's rule: what is signed is "id.timestamp.body", so a full stop could move the borders.
		{"moved border", func(r *signature.Request, family string) { r.Header.Set(family+"-id", vectorID+".1") }, false},
	} {
		for _, family := range []string{"svix", "webhook"} {
			t.Run(family+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				r := request(family)
				tt.change(r, family)
				checkVerify(t, standard(t, 0, vectorSecret), r, tt.ok, vectorID)
			})
		}
	}
}

func checkVerify(t *testing.T, v signature.Verifier, r *signature.Request, ok bool, wantID string) {
	t.Helper()
	id, err := v.Verify(r)
	switch {
	case ok && (err != nil || id != wantID):
		t.Errorf("Verify = %q, %v, want %q", id, err, wantID)
	case !ok && (!errors.Is(err, signature.ErrUnauthenticated) || id != ""):
		t.Errorf("Verify = %q, %v, want no id and %v", id, err, signature.ErrUnauthenticated)
	}
}

func TestStandardMovedBorder(t *testing.T) {
	t.Parallel()
	s := standard(t, 0, vectorSecret)
	// Signed as id "a.1614265330" with body "x"; the same bytes read as id "a" with body "1614265330.x".
	r := &signature.Request{Body: []byte("1614265330.x"), Now: time.Unix(vectorTime, 0)}
	if err := s.Sign(r, "a"); err != nil {
		t.Fatal(err)
	}
	checkVerify(t, s, r, true, "a")
	moved := &signature.Request{Header: http.Header{}, Body: []byte("x"), Now: r.Now}
	setTriple(moved, "webhook", "a.1614265330", "1614265330", r.Header.Get("Webhook-Signature"))
	checkVerify(t, s, moved, false, "")
	if err := s.Sign(moved, "a.1"); err == nil {
		t.Error("signed an id with a full stop")
	}
	if err := s.Sign(moved, ""); err == nil {
		t.Error("signed an empty id")
	}
}

func TestStandardReturnsTheIDThatVerified(t *testing.T) {
	t.Parallel()
	s := standard(t, 0, vectorSecret)
	for _, tt := range []struct {
		name  string
		other func(r *signature.Request)
	}{
		{"lone svix-id", func(r *signature.Request) { r.Header.Set("svix-id", "msg_forged") }},
		{"svix-id and timestamp", func(r *signature.Request) {
			r.Header.Set("svix-id", "msg_forged")
			r.Header.Set("svix-timestamp", strconv.Itoa(vectorTime))
		}},
		{"full svix triple that does not verify", func(r *signature.Request) {
			setTriple(r, "svix", "msg_forged", strconv.Itoa(vectorTime), vectorSig)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request("webhook")
			tt.other(r)
			checkVerify(t, s, r, true, vectorID)
		})
	}
	t.Run("svix first", func(t *testing.T) {
		t.Parallel()
		r := request("svix")
		setTriple(r, "webhook", "msg_forged", strconv.Itoa(vectorTime), vectorSig)
		checkVerify(t, s, r, true, vectorID)
	})
	t.Run("triple mixed of both", func(t *testing.T) {
		t.Parallel()
		r := request("svix")
		r.Header.Del("svix-signature")
		r.Header.Set("webhook-signature", vectorSig)
		checkVerify(t, s, r, false, "")
	})
}

func TestStandardRotation(t *testing.T) {
	t.Parallel()
	other := redact.Secret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 24)))) // the prefix is optional
	checkVerify(t, standard(t, 0, other, vectorSecret), request("svix"), true, vectorID)
	checkVerify(t, standard(t, 0, other), request("svix"), false, "")
	// A sender in rotation signs with both keys; a receiver with either accepts.
	r := &signature.Request{Body: []byte(vectorBody), Now: time.Unix(vectorTime, 0)}
	if err := standard(t, 0, other, vectorSecret).Sign(r, vectorID); err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Webhook-Signature"); !strings.HasSuffix(got, " "+vectorSig) {
		t.Errorf("signature = %q, want the official one last", got)
	}
	checkVerify(t, standard(t, 0, other), r, true, vectorID)
	checkVerify(t, standard(t, 0, vectorSecret), r, true, vectorID)
}

func TestStandardTolerance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		after time.Duration
		ok    bool
	}{
		{time.Hour, true}, {-time.Hour, true}, {time.Hour + time.Second, false}, {-time.Hour - time.Second, false},
	} {
		r := request("svix")
		r.Now = r.Now.Add(tt.after)
		checkVerify(t, standard(t, time.Hour, vectorSecret), r, tt.ok, vectorID)
	}
}

func TestStandardSecrets(t *testing.T) {
	t.Parallel()
	for _, secret := range []redact.Secret{
		"", "whsec_", "whsec_c2VjcmV0Cg==", "whsec_not base64, however long it may be!",
		redact.Secret("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, signature.MinSecret-1))),
	} {
		_, err := signature.NewStandard(signature.Secrets{vectorSecret, secret}, 0)
		if !errors.Is(err, signature.ErrSecret) {
			t.Errorf("NewStandard with a weak second secret: %v, want ErrSecret", err)
		}
		if err != nil && secret != "" && strings.Contains(err.Error(), secret.Reveal()) {
			t.Error("error quotes the secret")
		}
	}
	if _, err := signature.NewStandard(nil, 0); !errors.Is(err, signature.ErrSecret) {
		t.Errorf("NewStandard without secret: %v, want ErrSecret", err)
	}
}

func FuzzStandard(f *testing.F) {
	f.Add(vectorID, strconv.Itoa(vectorTime), vectorSig, []byte(vectorBody))
	f.Add("a.b", "-1", "v1,", []byte(nil))
	s, err := signature.NewStandard(signature.Secrets{vectorSecret}, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, timestamp, sig string, body []byte) {
		r := &signature.Request{Header: http.Header{}, Body: body, Now: time.Unix(vectorTime, 0)}
		setTriple(r, "svix", id, timestamp, sig)
		got, err := s.Verify(r)
		if err == nil && (got != vectorID || string(body) != vectorBody) {
			t.Fatal("a forged message verified")
		}
	})
}
