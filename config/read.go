package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/usherhq/usher/internal/redact"
)

// maxFile bounds a configuration file and a secrets file.
const maxFile = 1 << 20

// readFile returns a file that is not larger than a configuration should be.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxFile {
		return nil, errors.New("read configuration: file is larger than 1 MiB")
	}
	return b, nil
}

var errYAML = errors.New("not one well-formed YAML document with each key once")

// parseYAML decodes one document. The library's errors quote their input, which may be a secret, so only the
// line is kept.
func parseYAML(b []byte) (any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc any
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, atLine(err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errYAML
	}
	return doc, nil
}

func atLine(err error) error {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if !ok || digits < 1 {
		return errYAML
	}
	return fmt.Errorf("line %s: %w", rest[:digits], errYAML)
}

// reader turns a document into typed values by key and collects the problems.
type reader struct {
	env  string   // the variable that the document comes from, "" for a file
	keys []string // the keys that were read, a list's elements included
	errs []error
}

func (r *reader) problem(key, text string) {
	r.errs = append(r.errs, problemEnv(key, r.env, text))
}

// section reads a mapping and calls emit for each leaf. A null is as good as an absent key.
func (r *reader) section(fields []field, prefix string, doc any, emit func(f *field, v any)) {
	m, ok := doc.(map[string]any)
	if !ok {
		if doc != nil {
			r.notMapping(prefix)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			r.errs = append(r.errs, unknownKey(prefix, name, names(fields)))
			continue
		}
		f := &fields[i]
		switch v := m[name]; {
		case f.isSection():
			r.section(f.fields, prefix+name+".", v, emit)
		case v != nil:
			if v, ok := r.leaf(f, prefix+name, v); ok {
				r.keys = append(r.keys, prefix+name)
				emit(f, v)
			}
		}
	}
}

func (r *reader) notMapping(prefix string) {
	const want = "want a mapping of keys"
	switch key := strings.TrimSuffix(prefix, "."); {
	case key == "":
		r.errs = append(r.errs, errors.New("configuration: "+want))
	case strings.HasPrefix(key, endpointsKey):
		r.problem(key, want)
	default: // no variable sets a whole section
		r.errs = append(r.errs, errors.New(key+": "+want))
	}
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

func unknownKey(prefix, name string, known []string) error {
	text := "unknown key"
	if near := nearest(name, known); near != "" {
		text += ", did you mean " + prefix + near + "?"
	}
	return errors.New(prefix + printable(name) + ": " + text)
}

// printable shortens a name that nobody vouches for, so that an error stays one line.
func printable(name string) string {
	if len(name) > 64 {
		name = name[:64] + "..."
	}
	q := strconv.Quote(name)
	if q == `"`+name+`"` {
		return name
	}
	return q
}

// leaf converts a document's value to the field's type.
func (r *reader) leaf(f *field, key string, v any) (any, bool) {
	if !f.isList() {
		out, want := scalar(f, v)
		if want != "" {
			r.problem(key, "want "+want)
		}
		return out, want == ""
	}
	list, ok := v.([]any)
	switch {
	case !ok:
		r.problem(key, "want a list")
		return nil, false
	case f.isObjects():
		return r.objects(f, key, list), true
	default:
		return r.texts(f, key, list)
	}
}

func (r *reader) objects(f *field, key string, list []any) any {
	out := make([]any, len(list))
	for i, doc := range list {
		elem := map[string]any{}
		for _, leaf := range leaves(f.fields) {
			if d := leaf.tag.Get("default"); d != "" {
				setPath(elem, leaf.key, mustDuration(d))
			}
		}
		prefix := key + "[" + strconv.Itoa(i) + "]."
		if doc == nil {
			r.notMapping(prefix)
		}
		r.section(f.fields, prefix, doc, func(f *field, v any) { setPath(elem, f.key, v) })
		out[i] = elem
	}
	return out
}

func (r *reader) texts(f *field, key string, list []any) (any, bool) {
	out := make([]string, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			r.problem(key+"["+strconv.Itoa(i)+"]", "want a string; quote it")
			return nil, false
		}
		out[i] = s
	}
	if f.isSecret() {
		return secrets(out), true
	}
	return out, true
}

func secrets(texts []string) []redact.Secret {
	out := make([]redact.Secret, len(texts))
	for i, s := range texts {
		out[i] = redact.Secret(s)
	}
	return out
}

// scalar converts a value as YAML or a flag types it; want is what it should have been.
func scalar(f *field, v any) (out any, want string) {
	switch f.typ.Kind() {
	case reflect.String:
		if s, ok := v.(string); ok {
			return s, ""
		}
		return nil, "a string; quote it"
	case reflect.Int:
		if n, ok := v.(int); ok {
			return n, ""
		}
		return nil, "an integer"
	case reflect.Float64:
		switch n := v.(type) {
		case int:
			return float64(n), ""
		case float64:
			return n, ""
		}
		return nil, "a number"
	default:
		switch d := v.(type) {
		case time.Duration:
			return d, ""
		case string:
			return parseText(f, d)
		}
		return nil, wantDuration
	}
}

const wantDuration = "a duration such as 15s or 10m"

// parseText reads a scalar from the environment or from a flag.
func parseText(f *field, s string) (out any, want string) {
	var err error
	switch f.typ.Kind() {
	case reflect.String:
		return s, ""
	case reflect.Int:
		out, err = strconv.Atoi(s)
		want = "an integer"
	case reflect.Float64:
		var n float64
		n, err = strconv.ParseFloat(s, 64)
		if math.IsNaN(n) {
			err = strconv.ErrSyntax
		}
		out, want = n, "a number"
	default:
		out, err = time.ParseDuration(s)
		want = wantDuration
	}
	if err != nil {
		return nil, want
	}
	return out, ""
}

// mustDuration reads a default tag; a test loads an endpoint, which reads them all.
func mustDuration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic("config: bad default")
	}
	return d
}

func setPath(m map[string]any, path string, v any) {
	head, rest, nested := strings.Cut(path, ".")
	if !nested {
		m[head] = v
		return
	}
	inner, ok := m[head].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[head] = inner
	}
	setPath(inner, rest, v)
}
