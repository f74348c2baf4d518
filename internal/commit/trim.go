package commit

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/usherhq/usher/consumer/visitor"
)

// Bounds of what is kept of an event that would not fit its document. The raw payload has all of it.
const (
	maxEvent = 512 << 10 // bytes of an event; a larger one is trimmed
	maxText  = 1 << 10   // bytes of one of its texts then
	minText  = 256       // bytes of them if it is still too large
	maxMap   = 64 << 10  // bytes of a map, which is left out then
	maxList  = 200       // elements of a list then
)

// trim shortens an event that is too large for a document: size alone is no reason to park what ingest accepted.
// It is a function of the event, so that a redelivery is trimmed alike; what names the event stays whole.
func (i *Item) trim() {
	if i.Bytes <= maxEvent {
		return // so is the event in it
	}
	if len(i.JSON) == 0 {
		b, err := json.Marshal(i.Event)
		if err != nil {
			return
		}
		i.JSON = b
	}
	whole := len(i.JSON)
	for limit := maxText; len(i.JSON) > maxEvent && limit >= minText; limit /= 4 {
		ev, b := trimmed(i.Event, limit)
		if b == nil {
			return
		}
		i.Event, i.JSON = ev, b
	}
	i.Bytes -= whole - len(i.JSON)
}

// trimmed returns a trimmed copy of an event, and it as JSON: nil when it is no JSON.
func trimmed(ev *visitor.Event, limit int) (*visitor.Event, []byte) {
	b, err := json.Marshal(ev)
	if err != nil {
		return nil, nil
	}
	less := &visitor.Event{}
	if err := json.Unmarshal(b, less); err != nil {
		return nil, nil
	}
	trim(reflect.ValueOf(less).Elem(), limit)
	less.ID, less.TenantID, less.VisitorID, less.Source = ev.ID, ev.TenantID, ev.VisitorID, ev.Source
	if b, err = json.Marshal(less); err != nil {
		return nil, nil
	}
	return less, b
}

func trim(v reflect.Value, limit int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(short(v.String(), limit))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				trim(v.Field(i), limit)
			}
		}
	case reflect.Slice:
		v.SetLen(min(v.Len(), maxList))
		for i := range v.Len() {
			trim(v.Index(i), limit)
		}
	case reflect.Map:
		if b, err := json.Marshal(v.Interface()); err != nil || len(b) > maxMap {
			v.SetZero()
		}
	default: // numbers and truth values, and pointers to them
	}
}

// short cuts a text to so many bytes, between characters.
func short(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
