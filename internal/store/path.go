package store

import (
	"strings"
	"unicode/utf8"

	"github.com/usherhq/usher/internal/code"
)

// Path is a document path (an even number of segments) or a collection path (odd), without leading slash.
// Make one with [NewPath] only.
type Path string

// MaxSegment is Firestore's limit for one path segment in bytes.
const MaxSegment = 1500

// NewPath builds a path from checked segments. It is the one place where ids become paths; a forbidden
// segment gives code.Invalid and is not quoted.
func NewPath(segments ...string) (Path, error) {
	for _, s := range segments {
		if !validSegment(s) {
			return "", code.New(code.Invalid, "path: forbidden segment", nil)
		}
	}
	if len(segments) == 0 {
		return "", code.New(code.Invalid, "path: empty", nil)
	}
	return Path(strings.Join(segments, "/")), nil
}

func validSegment(s string) bool {
	switch {
	case s == "", s == ".", s == "..", len(s) > MaxSegment:
		return false
	case strings.Contains(s, "/"), strings.ContainsRune(s, 0), !utf8.ValidString(s):
		return false
	case len(s) >= 4 && strings.HasPrefix(s, "__") && strings.HasSuffix(s, "__"):
		return false
	}
	return true
}

// ID returns the last segment.
func (p Path) ID() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// Parent returns the path without its last segment.
func (p Path) Parent() Path {
	i := strings.LastIndexByte(string(p), '/')
	if i < 0 {
		return ""
	}
	return p[:i]
}

// IsDoc reports whether the path names a document.
func (p Path) IsDoc() bool { return p != "" && strings.Count(string(p), "/")%2 == 1 }
