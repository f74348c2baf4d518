package profile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// stamp orders two values of one leaf: the larger one stays. Being a total order over events, it makes
// merging commutative.
type stamp struct {
	rank uint8 // see leaf.ranked
	at   int64 // microseconds
	tie  uint32
}

func (a stamp) less(b stamp) bool {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.at, b.at), cmp.Compare(a.tie, b.tie)) < 0
}

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
	stamps  map[uint32]stamp
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
const stateVersion = 1

// encode packs the state: version, stamps grouped by value (most leaves share few stamps), touches.
func (s *state) encode() []byte {
	groups := map[stamp][]uint32{}
	for h, st := range s.stamps {
		groups[st] = append(groups[st], h)
	}
	order := make([]stamp, 0, len(groups))
	for st := range groups {
		order = append(order, st)
	}
	slices.SortFunc(order, func(a, b stamp) int {
		if a.less(b) {
			return -1
		}
		return 1
	})
	b := make([]byte, 0, 16+len(s.stamps)*4+len(order)*16+len(s.touches)*20)
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, uint64(len(order)))
	for _, st := range order {
		hs := groups[st]
		slices.Sort(hs)
		b = append(b, st.rank)
		b = binary.AppendVarint(b, st.at)
		b = binary.BigEndian.AppendUint32(b, st.tie)
		b = binary.AppendUvarint(b, uint64(len(hs)))
		for _, h := range hs {
			b = binary.BigEndian.AppendUint32(b, h)
		}
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
	s := state{stamps: make(map[uint32]stamp, min(len(b)/4, len(leaves)))}
	r := &reader{bytes.NewReader(b), true}
	if r.byte() != stateVersion {
		return s
	}
	for range r.count() {
		st := stamp{rank: r.byte(), at: r.varint(), tie: r.uint32()}
		for range r.count() {
			if h := r.uint32(); r.ok {
				s.stamps[h] = st
			}
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
	r  *bytes.Reader
	ok bool
}

func (r *reader) byte() byte {
	b, err := r.r.ReadByte()
	r.ok = r.ok && err == nil
	return b
}

func (r *reader) varint() int64 {
	v, err := binary.ReadVarint(r.r)
	r.ok = r.ok && err == nil
	return v
}

// count reads a length; what cannot be that long any more counts as damage.
func (r *reader) count() uint64 {
	v, err := binary.ReadUvarint(r.r)
	if err != nil || v > uint64(r.r.Len()) {
		r.ok = false
		return 0
	}
	return v
}

func (r *reader) uint32() uint32 {
	var b [4]byte
	if n, _ := r.r.Read(b[:]); n != len(b) { // a bytes.Reader fails only at its end
		r.ok = false
		return 0
	}
	return binary.BigEndian.Uint32(b[:])
}
