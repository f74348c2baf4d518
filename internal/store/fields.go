package store

import (
	"time"
)

// Fields are a document's or map's fields, in order. A value is one of: nil, bool, int64, float64, string,
// []byte, time.Time (microseconds, UTC), []any of these and Fields.
type Fields []Field

// Field is one named value.
type Field struct {
	Name  string
	Value any
}

// Get returns a top-level field's value, nil when there is none.
func (f Fields) Get(name string) any {
	for i := range f {
		if f[i].Name == name {
			return f[i].Value
		}
	}
	return nil
}

// Text returns a text field, "" when there is none.
func (f Fields) Text(name string) string { s, _ := f.Get(name).(string); return s }

// Int returns a whole number field, 0 when there is none.
func (f Fields) Int(name string) int64 { n, _ := f.Get(name).(int64); return n }

// Bool returns a boolean field, false when there is none.
func (f Fields) Bool(name string) bool { b, _ := f.Get(name).(bool); return b }

// Time returns a time field, the zero time when there is none.
func (f Fields) Time(name string) time.Time { t, _ := f.Get(name).(time.Time); return t }

// Bytes returns a bytes field, nil when there is none.
func (f Fields) Bytes(name string) []byte { b, _ := f.Get(name).([]byte); return b }

// Map returns a map field, nil when there is none.
func (f Fields) Map(name string) Fields { m, _ := f.Get(name).(Fields); return m }

// List returns an array field, nil when there is none.
func (f Fields) List(name string) []any { l, _ := f.Get(name).([]any); return l }

// Texts returns an array of texts.
func (f Fields) Texts(name string) []string {
	l := f.List(name)
	out := make([]string, 0, len(l))
	for _, v := range l {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
