package dispatch

import (
	"log/slog"
	"sync"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
)

// dimension is a way in which a window can be full.
type dimension int

const (
	inMessages dimension = iota
	inBytes
	dimensions
)

// dimensionNames are the reasons of a shed message.
var dimensionNames = [dimensions]string{"messages", "bytes"}

// amount is how much is held.
type amount [dimensions]int

// place is where a message is counted.
type place struct {
	lane     lane
	tenant   string // as its attributes say; messages of publishers that do not say share a bucket
	over     bool   // the message is to be shed
	in       dimension
	shedding bool
	shedTo   lane // of a message that was shed
	// Neighbours in order of arrival.
	older, newer *report
}

// window accounts for what is outstanding. A message of the main lane counts to its tenant while it is processed.
//
// The main lane is full from 3/4 of its flow control on, since the service counts a message until it hears of the ack,
// up to 100 ms later: the rest of a full window may never be seen here. It stays so down to 1/2, since the messages of
// a batch end together. A tenant that holds over 1/20 is heavy, and the share of each is the window / (heavy + 1): one
// flooder may keep half of it, three a quarter each, and who holds 1/20 or less is always within its share.
type window struct {
	max amount // flow control of the main lane

	mu      sync.Mutex
	lanes   [lanes]amount // outstanding, those being shed included
	full    [dimensions]bool
	tenants map[string]amount // of the main lane without those being shed; without zeros
	heavy   amount            // tenants over 1/20
	// All that is unfinished, in order of arrival.
	oldest, newest *report
}

// log says which overflow lane the message came by or went to; a shed one is not decoded, so its tenant is what its
// attributes say.
func (p *place) log(attrs []slog.Attr) []slog.Attr {
	switch {
	case p.shedTo != laneMain:
		attrs = append(attrs, slog.String("lane", laneNames[p.shedTo]))
		if visitor.TenantID(p.tenant).Validate() == nil { // what is no tenant id could be anything
			attrs = append(attrs, slog.String("tenant_id", p.tenant))
		}
	case p.lane != laneMain:
		attrs = append(attrs, slog.String("lane", laneNames[p.lane]))
	}
	return attrs
}

func newWindow(maxMessages, maxBytes int) *window {
	return &window{max: amount{maxMessages, maxBytes}, tenants: map[string]amount{}}
}

// enter counts an arriving message. It reports whether the main lane is full and the message's tenant over its share;
// the message then says in what.
func (w *window) enter(r *report) (over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.older = w.newest
	if w.newest == nil {
		w.oldest = r
	} else {
		w.newest.newer = r
	}
	w.newest = r
	w.count(r, 1)
	if r.lane != laneMain {
		return false
	}
	held := w.hold(r, 1)
	for in := range dimensions {
		if w.full[in] && held[in]*(w.heavy[in]+1) > w.max[in] {
			r.in = in
			return true
		}
	}
	return false
}

// shed takes a message off its tenant while it is being shed; keep undoes that.
func (w *window) shed(r *report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold(r, -1)
	r.shedding = true
}

func (w *window) keep(r *report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold(r, 1)
	r.shedding = false
}

// leave ends the counting of a message.
func (w *window) leave(r *report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.older == nil {
		w.oldest = r.newer
	} else {
		r.older.newer = r.newer
	}
	if r.newer == nil {
		w.newest = r.older
	} else {
		r.newer.older = r.older
	}
	r.older, r.newer = nil, nil
	w.count(r, -1)
	if r.lane == laneMain && !r.shedding {
		w.hold(r, -1)
	}
}

// count changes what is outstanding, and so whether the main lane is full.
func (w *window) count(r *report, sign int) {
	out := &w.lanes[r.lane]
	out[inMessages] += sign
	out[inBytes] += sign * len(r.m.Data)
	if r.lane != laneMain {
		return
	}
	for in, n := range out {
		switch {
		case 4*n >= 3*w.max[in]:
			w.full[in] = true
		case 2*n < w.max[in]:
			w.full[in] = false
		}
	}
}

// hold changes what the message's tenant holds and returns it.
func (w *window) hold(r *report, sign int) amount {
	was := w.tenants[r.tenant]
	is := amount{was[inMessages] + sign, was[inBytes] + sign*len(r.m.Data)}
	if is == (amount{}) {
		delete(w.tenants, r.tenant)
	} else {
		w.tenants[r.tenant] = is
	}
	for in := range dimensions {
		if was, is := 20*was[in] > w.max[in], 20*is[in] > w.max[in]; was != is {
			w.heavy[in] += sign
		}
	}
	return is
}

// outstanding returns what each lane holds.
func (w *window) outstanding() [lanes]amount {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lanes
}

// age returns how long the oldest unfinished message has been here; 0 when there is none.
func (w *window) age() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.oldest == nil {
		return 0
	}
	return time.Since(w.oldest.start)
}
