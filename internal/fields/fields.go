// Package fields converts structs to stored documents and back, by their json tags.
//
// Zero values are left out. Free maps (map[string]any) that the store cannot hold as they are, such as arrays
// within arrays, are kept as JSON text.
package fields

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usherhq/usher/internal/store"
)

// plan is how one struct type is converted, made once.
type plan []column

type column struct {
	name  string
	index int
	kind  kind
	elem  reflect.Type // of a slice of structs, or the struct itself
}

type kind uint8

const (
	kText kind = iota
	kBool
	kInt
	kFloat
	kBoolPtr
	kFloatPtr
	kTime
	kStruct
	kStructs
	kTexts
	kFree
	kCounts
)

var plans sync.Map // reflect.Type -> plan

var (
	timeType   = reflect.TypeFor[time.Time]()
	freeType   = reflect.TypeFor[map[string]any]()
	countsType = reflect.TypeFor[map[string]int64]()
)

func planOf(t reflect.Type) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	var p plan
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "" {
			continue
		}
		k, elem := kindOf(f.Type)
		p = append(p, column{name, i, k, elem})
	}
	// Firestore returns fields in this order, so that decoding mostly finds the next one at once.
	slices.SortFunc(p, func(a, b column) int { return strings.Compare(a.name, b.name) })
	plans.Store(t, p)
	return p
}

func kindOf(t reflect.Type) (kind, reflect.Type) {
	switch {
	case t == timeType:
		return kTime, nil
	case t == freeType:
		return kFree, nil
	case t == countsType:
		return kCounts, nil
	}
	switch t.Kind() {
	case reflect.String:
		return kText, nil
	case reflect.Bool:
		return kBool, nil
	case reflect.Int, reflect.Int64:
		return kInt, nil
	case reflect.Float64:
		return kFloat, nil
	case reflect.Struct:
		return kStruct, t
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Bool {
			return kBoolPtr, nil
		}
		if t.Elem().Kind() == reflect.Float64 {
			return kFloatPtr, nil
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return kStructs, t.Elem()
		}
		if t.Elem().Kind() == reflect.String {
			return kTexts, nil
		}
	}
	panic("fields: unsupported type " + t.String()) // impossible wiring: a model type was extended
}

// Encode converts a struct, given by pointer.
func Encode(v any) store.Fields { return encode(reflect.ValueOf(v).Elem()) }

func encode(v reflect.Value) store.Fields {
	p := planOf(v.Type())
	var buf [24]store.Field // most structs have fewer; the result is then allocated once and in its size
	out := buf[:0]
	for i := range p {
		f := v.Field(p[i].index)
		if f.IsZero() {
			continue
		}
		if e := p[i].encode(f); e != nil {
			out = append(out, store.Field{Name: p[i].name, Value: e})
		}
	}
	return append(make(store.Fields, 0, len(out)), out...)
}

func (c *column) encode(f reflect.Value) any {
	switch c.kind {
	case kText:
		return f.String()
	case kBool:
		return f.Bool()
	case kInt:
		return f.Int()
	case kFloat:
		return f.Float()
	case kBoolPtr:
		return f.Elem().Bool()
	case kFloatPtr:
		return f.Elem().Float()
	case kTime:
		return f.Interface().(time.Time)
	case kStruct:
		return encode(f)
	case kStructs:
		l := make([]any, f.Len())
		for i := range l {
			l[i] = encode(f.Index(i))
		}
		return l
	case kTexts:
		l := make([]any, f.Len())
		for i := range l {
			l[i] = f.Index(i).String()
		}
		return l
	case kFree:
		return freeMap(f.Interface().(map[string]any))
	case kCounts:
		m := f.Interface().(map[string]int64)
		out := make(store.Fields, 0, len(m))
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out = append(out, store.Field{Name: k, Value: m[k]})
		}
		return out
	}
	return nil
}

// Decode fills a struct, given by pointer, from a document. Unknown fields and fields of another type are
// passed over: a document may be newer than the reader.
func Decode(in store.Fields, into any) { decode(in, reflect.ValueOf(into).Elem()) }

func decode(in store.Fields, v reflect.Value) {
	p := planOf(v.Type())
	next := 0
	for i := range in {
		// The search starts where the last one ended.
		for j := range p {
			c := &p[(next+j)%len(p)]
			if c.name == in[i].Name {
				c.decode(in[i].Value, v.Field(c.index))
				next = (next + j + 1) % len(p)
				break
			}
		}
	}
}

func (c *column) decode(val any, f reflect.Value) {
	switch c.kind {
	case kText:
		if s, ok := val.(string); ok {
			f.SetString(s)
		}
	case kBool:
		if b, ok := val.(bool); ok {
			f.SetBool(b)
		}
	case kBoolPtr:
		if b, ok := val.(bool); ok {
			f.Set(reflect.ValueOf(&b))
		}
	case kInt:
		if n, ok := val.(int64); ok {
			f.SetInt(n)
		}
	case kFloat:
		if n, ok := number(val); ok {
			f.SetFloat(n)
		}
	case kFloatPtr:
		if n, ok := number(val); ok {
			f.Set(reflect.ValueOf(&n))
		}
	case kTime:
		if t, ok := val.(time.Time); ok {
			f.Set(reflect.ValueOf(t))
		}
	case kStruct:
		if m, ok := val.(store.Fields); ok {
			decode(m, f)
		}
	case kFree:
		f.Set(reflect.ValueOf(decodeFree(val)))
	default:
		c.decodeMany(val, f)
	}
}

func (c *column) decodeMany(val any, f reflect.Value) {
	switch c.kind {
	case kStructs:
		l, ok := val.([]any)
		if !ok {
			return
		}
		s := reflect.MakeSlice(f.Type(), len(l), len(l))
		for i := range l {
			if m, ok := l[i].(store.Fields); ok {
				decode(m, s.Index(i))
			}
		}
		f.Set(s)
	case kTexts:
		l, ok := val.([]any)
		if !ok {
			return
		}
		s := reflect.MakeSlice(f.Type(), len(l), len(l))
		for i := range l {
			if t, ok := l[i].(string); ok {
				s.Index(i).SetString(t)
			}
		}
		f.Set(s)
	case kCounts:
		m, ok := val.(store.Fields)
		if !ok {
			return
		}
		out := make(map[string]int64, len(m))
		for i := range m {
			if n, ok := m[i].Value.(int64); ok {
				out[m[i].Name] = n
			}
		}
		f.Set(reflect.ValueOf(out))
	}
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int64:
		return float64(n), true
	}
	return 0, false
}

// freeMap converts a free map; what the store cannot hold becomes JSON text as a whole.
func freeMap(m map[string]any) any {
	if f, ok := holdable(m, 4); ok {
		return f
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil // not JSON in the first place: it never came from a webhook
	}
	return string(b)
}

// holdable converts a decoded JSON object as far as the store can hold it. depth is how deep it already is.
func holdable(m map[string]any, depth int) (store.Fields, bool) {
	out := make(store.Fields, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v, ok := holdableValue(m[k], depth+1)
		if !ok || store.CheckName(k) != nil {
			return nil, false
		}
		out = append(out, store.Field{Name: k, Value: v})
	}
	return out, true
}

func holdableValue(v any, depth int) (any, bool) {
	if depth > store.MaxDepth-4 {
		return nil, false
	}
	switch v := v.(type) {
	case nil, bool, string, float64, int64:
		return v, true
	case int:
		return int64(v), true
	case map[string]any:
		return holdable(v, depth)
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			if _, nested := e.([]any); nested {
				return nil, false
			}
			c, ok := holdableValue(e, depth+1)
			if !ok {
				return nil, false
			}
			l[i] = c
		}
		return l, true
	}
	return nil, false
}

func decodeFree(v any) map[string]any {
	switch v := v.(type) {
	case store.Fields:
		return Map(v)
	case string:
		var m map[string]any
		if err := json.Unmarshal([]byte(v), &m); err != nil {
			return nil
		}
		return m
	}
	return nil
}

// Map converts stored fields to a plain map, for free maps and for printing.
func Map(f store.Fields) map[string]any {
	m := make(map[string]any, len(f))
	for i := range f {
		m[f[i].Name] = plain(f[i].Value)
	}
	return m
}

func plain(v any) any {
	switch v := v.(type) {
	case store.Fields:
		return Map(v)
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = plain(v[i])
		}
		return l
	}
	return v
}

// FromMap converts a plain map to fields. It returns an error for what the store cannot hold.
func FromMap(m map[string]any) (store.Fields, error) {
	f, ok := holdable(m, 1)
	if !ok {
		return nil, fmt.Errorf("a value cannot be stored: arrays within arrays, nesting over %d or a bad name", store.MaxDepth-4)
	}
	return f, nil
}
