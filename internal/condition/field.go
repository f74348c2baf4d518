package condition

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
)

// kind is what a field holds, and so which operators it takes.
type kind uint8

const (
	text     kind = iota
	hostname      // a text that is stored as package host normalises it
	number
	boolean
	instant
	free  // a value below a free map: any of text, number, boolean
	group // an object or list, which can only be there or not
)

var kindNames = [...]string{"text", "host", "number", "boolean", "time", "free value", "object or list"}

// each is the step to every element of a list; other steps are indexes of struct fields.
const each = -1

// hostPath is the one field that every source normalises with package host.
const hostPath = "session.host"

// field is where a path leads in an event.
type field struct {
	kind  kind
	steps []int
	key   string // below a free map
}

var (
	timeType = reflect.TypeFor[time.Time]()
	freeType = reflect.TypeFor[map[string]any]()
)

// fields are all fields of an event by their JSON path, read once from the types.
var fields = sync.OnceValue(func() map[string]field {
	out := map[string]field{}
	collect(out, reflect.TypeFor[visitor.Event](), "", nil)
	return out
})

func collect(out map[string]field, typ reflect.Type, prefix string, steps []int) {
	for i := range typ.NumField() {
		sf := typ.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		path, at, ft := prefix+name, append(slices.Clone(steps), i), sf.Type
		if ft.Kind() == reflect.Slice {
			out[path] = field{kind: group, steps: at}
			at, ft = append(slices.Clone(at), each), ft.Elem()
		}
		k := kindOf(ft)
		if path == hostPath {
			k = hostname
		}
		switch {
		case k != group:
			out[path] = field{kind: k, steps: at}
		case ft.Kind() == reflect.Struct:
			if _, isList := out[path]; !isList {
				out[path] = field{kind: group, steps: at}
			}
			collect(out, ft, path+".", at)
		}
	}
}

func kindOf(t reflect.Type) kind {
	switch t {
	case timeType:
		return instant
	case freeType:
		return free
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int64, reflect.Float64:
		return number
	}
	return group
}

// lookup finds a field by its path. A free map itself is a group; a key below it is a free value.
func lookup(path string) (field, error) {
	if path == "" {
		return field{}, errors.New("field: missing")
	}
	all := fields()
	if f, ok := all[path]; ok {
		if f.kind == free {
			f.kind = group
		}
		return f, nil
	}
	for i := range len(path) {
		if path[i] != '.' || i+1 == len(path) {
			continue
		}
		if f, ok := all[path[:i]]; ok && f.kind == free {
			f.key = path[i+1:]
			return f, nil
		}
	}
	if s := suggest(path, all); s != "" {
		return field{}, fmt.Errorf("field: %q is not a field of an event; did you mean %q?", path, s)
	}
	return field{}, fmt.Errorf("field: %q is not a field of an event", path)
}

// suggest returns the known path nearest to a wrong one, "" when none is near: one that ends in it ("title"), or
// the one with the fewest edits.
func suggest(path string, all map[string]field) string {
	path = strings.ToLower(path)
	best, least := "", max(2, len(path)/4)+1
	for _, known := range slices.Sorted(maps.Keys(all)) {
		if strings.HasSuffix(known, "."+path) {
			return known
		}
		if d := distance(path, known); d < least {
			best, least = known, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
