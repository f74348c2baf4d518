package profile

import (
	"cmp"
	"slices"
)

// stamp orders two values of one leaf: the larger one stays. Being a total order over events, it makes
// merging commutative.
type stamp struct {
	rank uint8 // see leaf.ranked
	at   int64 // microseconds
	tie  uint32
}

func compareStamp(a, b stamp) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.at, b.at), cmp.Compare(a.tie, b.tie))
}

// stamps are the stamps of leaves, in the order of the leaves' hashes.
type stamps []leafStamp

type leafStamp struct {
	leaf uint32
	stamp
}

func (s stamps) find(leaf uint32) (int, bool) {
	if n := len(s); n == 0 || s[n-1].leaf < leaf {
		return n, false // as in stored states, which are in order
	}
	return slices.BinarySearchFunc(s, leaf, func(e leafStamp, leaf uint32) int { return cmp.Compare(e.leaf, leaf) })
}

// set remembers a leaf's stamp.
func (s *stamps) set(leaf uint32, st stamp) {
	if i, ok := s.find(leaf); ok {
		(*s)[i].stamp = st
	} else {
		*s = slices.Insert(*s, i, leafStamp{leaf, st})
	}
}

// raise remembers a leaf's stamp if it is larger than the last, and reports whether it was.
func (s *stamps) raise(leaf uint32, st stamp) bool {
	i, ok := s.find(leaf)
	switch {
	case !ok:
		*s = slices.Insert(*s, i, leafStamp{leaf, st})
	case compareStamp((*s)[i].stamp, st) < 0:
		(*s)[i].stamp = st
	default:
		return false
	}
	return true
}

// forget removes a leaf's stamp.
func (s *stamps) forget(leaf uint32) {
	if i, ok := s.find(leaf); ok {
		*s = slices.Delete(*s, i, i+1)
	}
}

// values are the distinct stamps, in order.
func (s stamps) values() []stamp {
	var v []stamp
	for i := range s {
		if n, ok := slices.BinarySearchFunc(v, s[i].stamp, compareStamp); !ok {
			v = slices.Insert(v, n, s[i].stamp)
		}
	}
	return v
}
