package grpcproxy

import (
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

// verdict is what is to happen to one call.
type verdict struct {
	cut    bool
	refuse codes.Code // codes.OK does not
	delay  time.Duration
	lose   bool
	hold   bool
}

// burst is a row of calls that are refused with one code.
type burst struct {
	rng  *rand.Rand
	code codes.Code
	left int
}

func newBurst(seed uint64) burst { return burst{rng: rand.New(rand.NewPCG(seed, 1))} }

// What a busy service answers.
var refusals = []codes.Code{codes.Unavailable, codes.Aborted, codes.ResourceExhausted}

const (
	shortestBurst = 5
	longestBurst  = 30
)

// decide draws what happens to the next call and counts it, except for responses: those count once the call was
// applied.
func (p *Proxy) decide(method string) (v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return v
	}
	switch {
	case p.faults.Strike(Cut):
		p.counted[Cut]++
		v.cut = true
		return v
	case p.burst.left == 0 && p.faults.Strike(Burst):
		p.counted[Burst]++
		p.burst.left = shortestBurst + p.burst.rng.IntN(longestBurst-shortestBurst+1)
		p.burst.code = refusals[p.burst.rng.IntN(len(refusals))]
	}
	if p.burst.left > 0 {
		p.burst.left--
		p.counted[Refused]++
		v.refuse = p.burst.code
		return v
	}
	if p.faults.Strike(Delayed) {
		p.counted[Delayed]++
		v.delay = time.Duration(p.burst.rng.Int64N(int64(p.opts.Delay)) + 1)
	}
	if p.applied[method] {
		v.lose = p.faults.Strike(Lost)
		v.hold = !v.lose && p.faults.Strike(Held)
	}
	return v
}
