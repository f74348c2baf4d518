package profile

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// touch is the span of one webhook's session on one site.
type touch struct {
	start, end int64  // microseconds
	site       uint32 // hash of host and tracking id
}

func compareTouch(a, b touch) int {
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end), cmp.Compare(a.site, b.site))
}

// maxTouches bounds what visits are counted over: the latest ones, which is a function of the set of events.
const maxTouches = 32

// The rule of what one visit is, on one website host and tracking id.
const (
	visitGap = 20 * time.Minute
	visitMax = 24 * time.Hour
)

// visits counts the visits in a set of touches.
func visits(touches []touch) int {
	type visit struct{ start, end int64 }
	open := map[uint32]visit{}
	n := 0
	for _, t := range slices.SortedFunc(slices.Values(touches), compareTouch) {
		v, ok := open[t.site]
		if !ok || t.start > v.end+visitGap.Microseconds() || t.start > v.start+visitMax.Microseconds() {
			n++
			v = visit{t.start, t.end}
		}
		v.end = max(v.end, t.end)
		open[t.site] = v
	}
	return n
}

// state is what merging must remember besides the profile itself.
type state struct {
	stamps  stamps
	touches []touch // sorted, at most maxTouches
}

// addTouch inserts a touch; equal ones count once and only the latest are kept.
func (s *state) addTouch(t touch) {
	i, found := slices.BinarySearchFunc(s.touches, t, compareTouch)
	if found {
		return
	}
	s.touches = slices.Insert(s.touches, i, t)
	if len(s.touches) > maxTouches {
		s.touches = s.touches[1:]
	}
}

// stateVersion is the first byte of a stored state.
const stateVersion = 2

// encode packs the state: version, the distinct stamps (most leaves share few), leaves with the number of their stamp,
// touches.
func (s *state) encode() []byte {
	values := s.stamps.values()
	b := make([]byte, 0, 16+len(values)*16+len(s.stamps)*5+len(s.touches)*20)
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, uint64(len(values)))
	for _, v := range values {
		b = append(b, v.rank)
		b = binary.AppendVarint(b, v.at)
		b = binary.BigEndian.AppendUint32(b, v.tie)
	}
	b = binary.AppendUvarint(b, uint64(len(s.stamps)))
	for i := range s.stamps {
		n, _ := slices.BinarySearchFunc(values, s.stamps[i].stamp, compareStamp)
		b = binary.BigEndian.AppendUint32(b, s.stamps[i].leaf)
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(len(s.touches)))
	for _, t := range s.touches {
		b = binary.AppendVarint(b, t.start)
		b = binary.AppendVarint(b, t.end-t.start)
		b = binary.BigEndian.AppendUint32(b, t.site)
	}
	return b
}

// decodeState unpacks a stored state. A damaged one gives what could be read: the profile then merges as if
// the rest had never been stamped.
func decodeState(b []byte) state {
	var s state
	r := &reader{b, true}
	if r.byte() != stateVersion {
		return s
	}
	n := r.count()
	values := make([]stamp, 0, n)
	for range n {
		values = append(values, stamp{rank: r.byte(), at: r.varint(), tie: r.uint32()})
	}
	n = r.count()
	s.stamps = make(stamps, 0, n+len(leaves)/4) // room for what the next event adds
	for range n {
		leaf, value := r.uint32(), r.uvarint()
		if r.ok && value < uint64(len(values)) {
			s.stamps.set(leaf, values[value])
		}
	}
	for range r.count() {
		t := touch{start: r.varint()}
		t.end = t.start + r.varint()
		if t.site = r.uint32(); r.ok {
			s.addTouch(t)
		}
	}
	return s
}

// reader reads numbers until the first error.
type reader struct {
	rest []byte
	ok   bool
}

// skip ends reading when n is not the length of a number.
func (r *reader) skip(n int) bool {
	if !r.ok || n <= 0 || n > len(r.rest) {
		r.ok, r.rest = false, nil
		return false
	}
	r.rest = r.rest[n:]
	return true
}

func (r *reader) byte() byte {
	b := r.rest
	if !r.skip(1) {
		return 0
	}
	return b[0]
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if !r.skip(n) {
		return 0
	}
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if !r.skip(n) {
		return 0
	}
	return v
}

func (r *reader) uint32() uint32 {
	b := r.rest
	if !r.skip(4) {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// count reads a length; what cannot be that long any more counts as damage.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.ok, r.rest = false, nil
		return 0
	}
	return int(n)
}
