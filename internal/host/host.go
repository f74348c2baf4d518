// Package host brings website hosts to the one form by which they are compared, stored and routed.
package host

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrInvalid is returned for what is no host; it quotes nothing.
var ErrInvalid = errors.New("not a host name")

// The limits of DNS.
const (
	maxName  = 253
	maxLabel = 63
)

// profile is UTS-46, non-transitional as browsers use it. Underscores are in real host names, so the strict
// character rule is replaced by [checkASCII].
var profile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(false))

// Normalize returns the host of a URL or host name: lower case, in ASCII (punycode), without scheme, user,
// port, path, trailing dot and leading "www.". "WWW.Bücher.example:443/x" and "xn--bcher-kva.example" are one
// host. IP addresses are allowed. Normalize is idempotent. It returns [ErrInvalid] for what is no host.
func Normalize(raw string) (string, error) {
	h, err := ASCII(authority(raw))
	if err != nil {
		return "", err
	}
	// All of them, not one, or normalising twice would change the result; "www.com" stays.
	for {
		rest, ok := strings.CutPrefix(h, "www.")
		if !ok || !strings.Contains(rest, ".") {
			return h, nil
		}
		h = rest
	}
}

// ASCII returns a domain name or IP address in lower-case ASCII without trailing dot. It keeps "www.". It
// returns [ErrInvalid] for what is no host name.
func ASCII(name string) (string, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		if a.Zone() != "" {
			return "", ErrInvalid
		}
		return a.Unmap().String(), nil
	}
	if !plain(name) {
		var ok bool
		if name, ok = mapped(name); !ok {
			return "", ErrInvalid
		}
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if !checkASCII(name) {
		return "", ErrInvalid
	}
	return name, nil
}

// mapped brings a name to ASCII. What does not map to itself after that is refused: it has no one form.
func mapped(name string) (string, bool) {
	if !utf8.ValidString(name) {
		return "", false
	}
	ascii, err := profile.ToASCII(name)
	if err != nil {
		return "", false
	}
	again, err := profile.ToASCII(ascii)
	return ascii, err == nil && again == ascii
}

// authority cuts host and port out of a URL, then the host out of these.
func authority(raw string) string {
	s := strings.TrimSpace(raw)
	if i := strings.Index(s, "//"); i >= 0 && isScheme(s[:i]) {
		s = s[i+2:]
	}
	if i := strings.IndexAny(s, `/\?#`); i >= 0 {
		s = s[:i]
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if strings.HasPrefix(s, "[") {
		address, _, _ := strings.Cut(s[1:], "]")
		return address
	}
	if name, port, ok := strings.Cut(s, ":"); ok && strings.Trim(port, "0123456789") == "" {
		return name
	}
	return s
}

// isScheme reports whether s is "", or letters and the like before a colon.
func isScheme(s string) bool {
	name, ok := strings.CutSuffix(s, ":")
	return s == "" || ok && strings.IndexFunc(name, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("+-.", r)
	}) < 0
}

// plain reports whether a name needs no mapping: ASCII without a punycode label.
func plain(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
		if (name[i] == 'x' || name[i] == 'X') && len(name) >= i+4 && strings.EqualFold(name[i:i+4], "xn--") {
			return false
		}
	}
	return true
}

func checkASCII(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
