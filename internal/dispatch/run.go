package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

var (
	errProcessorTimeout = errors.New("processor did not finish in time")
	errLeftBehind       = errors.New("chain was left behind")
)

// doorName stands for the whole chain where errors and the log name a processor.
const doorName = "chain"

// run is one event's way through its tenant's chain.
type run struct {
	chains *chains
	chain  *chain
	event  *visitor.Event
	done   chan ran

	mu   sync.Mutex
	at   *link // whose handler runs
	pass pass  // of its breaker
	left bool  // nobody waits for the run any more
}

// ran is how a run ended.
type ran struct {
	effects []processor.Effect
	err     error
}

// run takes an event through the chain and returns the effects of all of it. A failing processor makes the
// whole chain fail: nothing of it is committed.
//
// One tenant's trouble is its own: only so many of its events run at a time, each for the timeout at most, and
// what keeps failing is left alone for a while. A processor that does not even heed its context is left behind at the timeout
// and keeps its slot until it ends. Waiting for a slot ends with ctx; what was begun does not, so that receiving
// can end without giving it back. A chain that only computes needs none of that.
func (c *chains) run(ctx context.Context, ch *chain, ev *visitor.Event) ([]processor.Effect, error) {
	if ch.pure {
		r := run{chains: c, chain: ch, event: ev}
		return r.effects(ctx)
	}
	if err := c.enter(ctx, ch); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), c.timeout, errProcessorTimeout)
	defer cancel()
	r := &run{chains: c, chain: ch, event: ev, done: make(chan ran, 1)}
	go r.walk(ctx)
	select {
	case end := <-r.done:
		return end.effects, end.err
	case <-ctx.Done():
		return nil, &processorError{r.leave(ctx), context.Cause(ctx)}
	}
}

// enter takes a slot of the tenant, unless something in its chain is known to fail.
func (c *chains) enter(ctx context.Context, ch *chain) error {
	for i := range ch.links {
		if l := &ch.links[i]; l.breaker.refuses() {
			return &processorError{l.name, errBroken}
		}
	}
	p := ch.door.enter()
	if p == passNone {
		return &processorError{doorName, errBusy}
	}
	err := c.bulkheads.enter(ctx, ch.tenant, c.timeout)
	if err != nil && ctx.Err() != nil {
		ch.door.abstain(p)
		return &processorError{doorName, err}
	}
	// More events than the processors take are no reason to leave them alone: slots that nobody gives back are.
	c.note(ctx, ch, doorName, ch.door.record(p, errors.Is(err, errStuck)))
	if err != nil {
		return &processorError{doorName, err}
	}
	return nil
}

// note logs what a result did to a breaker.
func (c *chains) note(ctx context.Context, ch *chain, name string, did change) {
	switch did {
	case changeOpened:
		c.logger.WarnContext(ctx, "breaker open: a tenant's processor keeps failing, its events are given back",
			"tenant_id", ch.tenant, "processor", name)
	case changeClosed:
		c.logger.InfoContext(ctx, "breaker closed again", "tenant_id", ch.tenant, "processor", name)
	case changeNone:
	}
}

func (r *run) walk(ctx context.Context) {
	defer r.chains.bulkheads.leave(r.chain.tenant)
	effects, err := r.effects(ctx)
	r.done <- ran{effects, err}
}

func (r *run) effects(ctx context.Context) ([]processor.Effect, error) {
	var effects []processor.Effect
	for i := range r.chain.links {
		l := &r.chain.links[i]
		if err := r.begin(l); err != nil {
			return nil, err
		}
		res, failed, err := l.process(ctx, r.event)
		if r.end(ctx, l, failed); err != nil {
			return nil, err
		}
		if len(effects) == 0 {
			effects = res.Effects // mostly there is one processor; its slice is read only
		} else {
			effects = append(effects[:len(effects):len(effects)], res.Effects...)
		}
		if res.Stop {
			break
		}
	}
	return effects, nil
}

// begin notes that a link's turn has come, if its breaker lets it through.
func (r *run) begin(l *link) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return errLeftBehind
	}
	p := l.breaker.enter()
	if p == passNone {
		return &processorError{l.name, errBroken}
	}
	r.at, r.pass = l, p
	return nil
}

// end notes how a link's turn ended, unless leave has done so.
func (r *run) end(ctx context.Context, l *link, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return
	}
	r.at = nil
	r.chains.note(ctx, r.chain, l.name, l.breaker.record(r.pass, failed))
}

// leave lets the run alone, which fails the processor whose turn it is, and returns that one's name.
func (r *run) leave(ctx context.Context) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
	if r.at == nil {
		return doorName
	}
	r.chains.note(ctx, r.chain, r.at.name, r.at.breaker.record(r.pass, true))
	return r.at.name
}

// process calls the handler; a panic becomes a permanent error of this event. A failure is what speaks against
// the processor: a panic, or an error that is not about this event alone.
func (l *link) process(ctx context.Context, ev *visitor.Event) (res processor.Result, failed bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			// What was thrown may hold personal data, so it is not part of the error.
			failed, err = true, &processorError{l.name, processor.Permanent(fmt.Errorf("panic of type %T", v))}
		}
	}()
	if res, err = l.handler.Process(ctx, ev); err != nil {
		return res, !processor.IsPermanent(err), &processorError{l.name, err}
	}
	if err := res.Validate(); err != nil {
		return res, false, &processorError{l.name, processor.Permanent(err)}
	}
	return res, false, nil
}
