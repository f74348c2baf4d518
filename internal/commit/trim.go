package commit

import (
	"encoding/json"
	"reflect"
	"unicode/utf8"

	"github.com/usherhq/usher/consumer/visitor"
)

// Bounds of what is kept of an event that would not fit its document. The raw payload has all of it.
const (
	maxEvent = 512 << 10 // bytes of an event; a larger one is trimmed
	maxText  = 1 << 10   // bytes of one of its texts then
	maxMap   = 64 << 10  // bytes of a map, which is left out then
)

// trim shortens an event that is too large for a document: size alone is no reason to park what ingest accepted.
// It is a function of the event, so that a redelivery is trimmed alike; ids are hashes of the whole texts.
func (i *Item) trim() {
	if i.rest() <= maxEvent {
		return
	}
	b, err := visitor.Encode(i.Event)
	if err != nil || len(b) <= maxEvent {
		return
	}
	ev, err := visitor.Decode(b) // a copy: the caller's stays whole
	if err != nil {
		return
	}
	trim(reflect.ValueOf(ev).Elem())
	i.Event = ev
	if less, err := visitor.Encode(ev); err == nil {
		i.Bytes -= len(b) - len(less)
	}
}

func trim(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(short(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				trim(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			trim(v.Index(i))
		}
	case reflect.Map:
		if b, err := json.Marshal(v.Interface()); err != nil || len(b) > maxMap {
			v.SetZero()
		}
	default: // numbers and truth values, and pointers to them
	}
}

// short cuts a text to maxText bytes, between characters.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
