package batch

// lane holds what is ready to go into one kind of batch, oldest first: a group's, or that of all others.
type lane[T any] struct {
	group   string // "" for all others
	pending []*entry[T]
	bytes   int // of pending
}

// enqueue makes an entry pending, or holds it while its key is under way.
func (b *Batcher[T]) enqueue(e *entry[T]) {
	if e.key != "" && b.flights[e.key] {
		b.held[e.key] = append(b.held[e.key], e)
		return
	}
	l := &b.common
	if g := b.opts.Group(e.item); g != "" {
		if l = b.groups[g]; l == nil {
			l = &lane[T]{group: g}
			b.groups[g] = l
			b.turns = append(b.turns, l)
		}
	}
	l.pending = append(l.pending, e)
	l.bytes += e.size
}

// take forms the lane's next batch from its oldest entries.
func (b *Batcher[T]) take(l *lane[T]) []*entry[T] {
	n, bytes := 0, 0
	for n < len(l.pending) && n < b.opts.MaxItems && (n == 0 || bytes+l.pending[n].size <= b.opts.MaxBytes) {
		bytes += l.pending[n].size
		n++
	}
	taken := make([]*entry[T], n)
	copy(taken, l.pending)
	rest := l.pending[n:]
	if len(rest) == 0 {
		rest = nil // lets the array go
	}
	l.pending, l.bytes = rest, l.bytes-bytes
	for _, e := range taken {
		if e.key != "" {
			b.flights[e.key] = true
		}
	}
	b.holdBack(&b.common)
	for _, g := range b.groups {
		b.holdBack(g)
	}
	return taken
}

// holdBack moves pending entries whose key has just taken off out of the way.
func (b *Batcher[T]) holdBack(l *lane[T]) {
	kept := l.pending[:0]
	for _, e := range l.pending {
		if e.key != "" && b.flights[e.key] {
			b.held[e.key] = append(b.held[e.key], e)
			l.bytes -= e.size
			continue
		}
		kept = append(kept, e)
	}
	clear(l.pending[len(kept):])
	l.pending = kept
}

// release makes what was held for a key pending.
func (b *Batcher[T]) release(key string) {
	held, ok := b.held[key]
	if !ok {
		return
	}
	delete(b.held, key)
	for _, e := range held {
		b.enqueue(e)
	}
}

// landed notes that a batch of the lane has ended: a group with more to do has another turn, behind the others.
func (b *Batcher[T]) landed(l *lane[T]) {
	switch {
	case l == &b.common:
		b.running--
	case len(l.pending) > 0:
		b.grouped--
		b.turns = append(b.turns, l)
	default:
		b.grouped--
		delete(b.groups, l.group)
	}
}
