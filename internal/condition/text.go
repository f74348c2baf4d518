package condition

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/usherhq/usher/internal/host"
)

// textTest makes the test of an operator on texts.
func textTest(op Op, value string) (test, error) {
	if op == PathUnder {
		return pathUnder(value)
	}
	want := []byte(fold(value))
	return func(v reflect.Value) bool {
		var buf [256]byte // most values fit, so that folding allocates nothing
		got := appendFold(buf[:0], textOf(v))
		switch op { // called directly: through a variable, buf would escape to the heap
		case Contains:
			return bytes.Contains(got, want)
		case StartsWith:
			return bytes.HasPrefix(got, want)
		case EndsWith:
			return bytes.HasSuffix(got, want)
		}
		return bytes.Equal(got, want)
	}, nil
}

// fold makes texts that differ in case or in Unicode composition only the same.
func fold(s string) string { return strings.ToLower(norm.NFC.String(s)) }

// appendFold appends fold(s) to b.
func appendFold(b []byte, s string) []byte {
	start := len(b)
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(b[:start], fold(s)...)
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// pathUnder tests whether a URL is at or below "/path", or "host/path" for one host. Only whole segments count:
// /admin covers /admin and /admin/x but not /administrator. Query and fragment do not count, nor does a host's
// leading "www.".
func pathUnder(value string) (test, error) {
	if strings.ContainsAny(value, "?#") || !strings.Contains(value, "/") {
		return nil, errors.New("value: want /path or host/path for path_under, without query and fragment")
	}
	authority, path := splitURL(fold(strings.TrimSpace(value)))
	if authority != "" {
		var err error
		if authority, err = host.Normalize(authority); err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
	}
	under := strings.TrimRight(path, "/")
	return func(v reflect.Value) bool {
		s := textOf(v)
		if s == "" {
			return false
		}
		a, p := splitURL(fold(s))
		rest, ok := strings.CutPrefix(p, under)
		if !ok || (rest != "" && rest[0] != '/') {
			return false
		}
		if authority == "" {
			return true
		}
		h, err := host.Normalize(a)
		return err == nil && h == authority
	}, nil
}

// splitURL cuts authority and decoded path out of a folded URL with or without scheme, or out of a bare path. The
// path starts with a slash.
func splitURL(s string) (authority, path string) {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	} else if rest, ok := strings.CutPrefix(s, "//"); ok {
		s = rest
	}
	authority, path = s, "/"
	if i := strings.IndexByte(s, '/'); i >= 0 {
		authority, path = s[:i], s[i:]
	}
	if strings.Contains(path, "%") {
		if decoded, err := url.PathUnescape(path); err == nil {
			path = fold(decoded)
		}
	}
	return authority, path
}
