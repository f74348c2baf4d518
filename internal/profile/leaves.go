package profile

import (
	"hash/fnv"
	"reflect"
	"slices"
	"strings"

	"github.com/usherhq/usher/consumer/visitor"
)

// leaf is one scalar that merging decides on by itself.
type leaf struct {
	path   string // as in the event's JSON, such as "person.title"
	hash   uint32 // of path; names the leaf in stored stamps
	event  []int  // index chain in visitor.Event
	target []int  // index chain in visitor.Profile
	ranked bool   // a vendor's later stage beats a later time
}

// sections are the parts of an event that a profile keeps. What a person is, is ranked by stage; what a
// visitor did, only by time.
var sections = []struct {
	name   string
	ranked bool
}{{"Person", true}, {"Company", true}, {"Visit", false}, {"Attribution", false}, {"Consent", false}}

// leaves are all scalars of the sections, found once by reflection; lists are merged as sets instead.
var leaves = findLeaves()

func findLeaves() []leaf {
	ev, pr := reflect.TypeFor[visitor.Event](), reflect.TypeFor[visitor.Profile]()
	var out []leaf
	for _, s := range sections {
		ef, _ := ev.FieldByName(s.name)
		pf, _ := pr.FieldByName(s.name)
		out = appendLeaves(out, ef.Type, jsonName(ef), ef.Index, pf.Index, s.ranked)
	}
	return out
}

func appendLeaves(out []leaf, t reflect.Type, path string, event, target []int, ranked bool) []leaf {
	for i := range t.NumField() {
		f := t.Field(i)
		p := path + "." + jsonName(f)
		e, g := append(slices.Clone(event), i), append(slices.Clone(target), i)
		switch f.Type.Kind() {
		case reflect.Struct: // no section holds a time
			out = appendLeaves(out, f.Type, p, e, g, ranked)
		case reflect.Slice: // emails, phones: sets; pages: not part of a profile
		default:
			out = append(out, leaf{p, hash32(p), e, g, ranked})
		}
	}
	return out
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum32()
}
