package memqueue

// ring is a first-in, first-out queue that grows and never moves what it holds until then.
type ring struct {
	buf  []*item // length zero or a power of two
	head int
	n    int
}

func (r *ring) push(it *item) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = it
	r.n++
}

func (r *ring) peek() *item { return r.buf[r.head] }

func (r *ring) pop() *item {
	it := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	return it
}

func (r *ring) grow() {
	buf := make([]*item, max(16, 2*len(r.buf)))
	for i := range r.n {
		buf[i] = r.buf[(r.head+i)&(len(r.buf)-1)]
	}
	r.buf, r.head = buf, 0
}
