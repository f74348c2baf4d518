package config

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/internal/redact"
)

// Endpoint is one inbound URL of a source.
type Endpoint struct {
	Name        string        `mapstructure:"name" required:"true" format:"name" desc:"the endpoint's part of its URL; unique"`
	Source      string        `mapstructure:"source" required:"true" format:"source" desc:"adapter that reads its payloads"`
	Tenants     []string      `mapstructure:"tenants" format:"tenant" desc:"tenants it may speak for; empty for any that its payloads or routes name"`
	Auth        Auth          `mapstructure:"auth" required:"true"`
	RepeatAfter time.Duration `mapstructure:"repeat_after" default:"0s" min:"0s" desc:"when the same body without an id is a new event; 0s for the source's default"`
}

// Auth is how an endpoint authenticates requests.
type Auth struct {
	Mode        AuthMode        `mapstructure:"mode" required:"true" enum:"standard_webhooks,hmac_sha256,shared_secret,url_token,unsigned" desc:"how a request proves that the vendor sent it"`
	Header      string          `mapstructure:"header" format:"header" desc:"header of the secret (shared_secret) or of the signature (hmac_sha256; X-Webhook-Signature by default)"`
	Secrets     []redact.Secret `mapstructure:"secrets" desc:"secrets in force, several during rotation; comma separated in the environment"`
	SecretsFile string          `mapstructure:"secrets_file" desc:"file with one secret a line, instead of secrets; relative to the configuration file"`
	Tolerance   time.Duration   `mapstructure:"tolerance" default:"5m" min:"1s" max:"1h" why:"a replay is accepted for that long" desc:"how far a signed time may be off (standard_webhooks)"`
}

// AuthMode names a way to authenticate.
type AuthMode string

// The ways to authenticate.
const (
	AuthStandardWebhooks AuthMode = "standard_webhooks"
	AuthHMACSHA256       AuthMode = "hmac_sha256"
	AuthSharedSecret     AuthMode = "shared_secret"
	AuthURLToken         AuthMode = "url_token"
	AuthUnsigned         AuthMode = "unsigned" // no check at all
)

// minSecret is the fewest bytes of a secret: 24 is the least that Standard Webhooks allows.
const minSecret = 24

func endpointKey(i int, rest string) string { return "endpoints[" + strconv.Itoa(i) + "]." + rest }

// SecretsEnv is the environment variable of the endpoint's secrets, "" for an endpoint without name.
func (e *Endpoint) SecretsEnv() string {
	if e.Name == "" {
		return ""
	}
	return "USHER_ENDPOINTS_" + strings.ToUpper(strings.ReplaceAll(e.Name, "-", "_")) + "_SECRETS"
}

func (c *Config) validateEndpoints() error {
	var errs []error
	seen := make(map[string]bool, len(c.Endpoints))
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		errs = append(errs, e.validate(i))
		if e.Name != "" && seen[e.Name] {
			errs = append(errs, problem(endpointKey(i, "name"), "already used by another endpoint"))
		}
		seen[e.Name] = true
		if e.RepeatAfter > c.Identity.Window {
			errs = append(errs, problem(endpointKey(i, "repeat_after"), "want at most identity.window"))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkEndpoints(more func(int, *Endpoint) error) error {
	if more == nil {
		return nil
	}
	var errs []error
	for i := range c.Endpoints {
		if e := &c.Endpoints[i]; e.validate(i) == nil {
			errs = append(errs, more(i, e))
		}
	}
	return errors.Join(errs...)
}

func (e *Endpoint) validate(i int) error {
	return errors.Join(
		check(strings.TrimSuffix(endpointKey(i, ""), "."), e),
		check(endpointKey(i, "auth"), &e.Auth),
		e.validateHeader(i),
		e.validateSecrets(i),
	)
}

func (e *Endpoint) validateHeader(i int) error {
	key := endpointKey(i, "auth.header")
	switch e.Auth.Mode {
	case AuthSharedSecret:
		if e.Auth.Header == "" {
			return problem(key, "required with shared_secret")
		}
	case AuthStandardWebhooks, AuthURLToken, AuthUnsigned:
		if e.Auth.Header != "" {
			return problem(key, "not used with this auth.mode")
		}
	}
	return nil
}

func (e *Endpoint) validateSecrets(i int) error {
	key, env := endpointKey(i, "auth.secrets"), e.SecretsEnv()
	n := len(e.Auth.Secrets)
	switch {
	case e.Auth.Mode == AuthUnsigned && n > 0:
		return problemEnv(key, env, "not used with unsigned: nothing would be verified")
	case e.Auth.Mode == AuthUnsigned:
		return nil
	case n == 0:
		return problemEnv(key, env, "required; an endpoint without authentication spells it auth.mode: unsigned")
	}
	var errs []error
	for j, s := range e.Auth.Secrets {
		if secretBytes(e.Auth.Mode, s) < minSecret {
			errs = append(errs, problemEnv(key+"["+strconv.Itoa(j)+"]", env, "want at least 24 bytes"))
		}
	}
	return errors.Join(errs...)
}

// secretBytes counts the key's bytes: Standard Webhooks encodes it in base64 after a prefix. A rest that is not
// base64 is counted as it stands; whether it is a key is the verifier's to say.
func secretBytes(m AuthMode, s redact.Secret) int {
	text := s.Reveal()
	if m != AuthStandardWebhooks {
		return len(text)
	}
	text = strings.TrimPrefix(text, "whsec_")
	if key, err := base64.StdEncoding.DecodeString(text); err == nil {
		return len(key)
	}
	return len(text)
}
