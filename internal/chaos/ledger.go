package main

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// ledger is what the daemons' logs tell of the messages that they ended. A line comes before the ack, so a message that
// was acked has one, even if its daemon was killed right after.
type ledger struct {
	mu          sync.Mutex
	published   []string        // ids of messages
	ended       map[string]int  // message id -> how often it was ended
	events      map[string]bool // ids of events that are stored
	letters     map[string]bool // ids of dead letters that are stored
	handled     map[string]bool // ids of messages that a daemon has had, ended or not
	redelivered int             // deliveries after the first, whoever had that
	repeated    int             // of them those whose earlier delivery a daemon had handled
	last        time.Time       // of the last line about a message
}

func newLedger() *ledger {
	return &ledger{ended: map[string]int{}, handled: map[string]bool{}, events: map[string]bool{}, letters: map[string]bool{}}
}

// line is the part of a log line that matters here.
type line struct {
	Message      string `json:"message"`
	MessageID    string `json:"message_id"`
	EventID      string `json:"event_id"`
	Outcome      string `json:"outcome"`
	Attempt      int    `json:"delivery_attempt"`
	Lane         string `json:"lane"`
	DeadLetterID string `json:"dead_letter_id"`
	HealthAddr   string `json:"health_addr"`
}

// again reports whether the message says that it was delivered before. On an overflow lane it does not: the copy of a shed
// message goes on counting the attempts of the original.
func (e *line) again() bool { return e.Attempt > 1 && !strings.HasPrefix(e.Lane, "overflow") }

func parseLine(b []byte) (l line, ok bool) { return l, json.Unmarshal(b, &l) == nil }

// add takes note of a line.
func (l *ledger) add(e *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Message {
	case "message":
		l.last = time.Now()
		if e.Outcome == "shed" {
			return // it ends when its copy does, under the same id
		}
		if e.again() || l.handled[e.MessageID] {
			l.redelivered++
		}
		if l.handled[e.MessageID] {
			l.repeated++
		}
		l.handled[e.MessageID] = true
		if e.Outcome == "nacked" {
			return
		}
		l.ended[e.MessageID]++
		if e.Outcome == "stored" || e.Outcome == "duplicate" {
			l.events[e.EventID] = true
		}
	case "dead letter":
		l.last = time.Now()
		if e.Outcome != "nacked" {
			l.letters[e.DeadLetterID] = true
		}
	}
}

// expect takes note of a published message.
func (l *ledger) expect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = append(l.published, id)
}

// progress is how far the daemons have come.
type progress struct {
	ended   int // different messages
	events  int // different events
	letters int // different dead letters
	last    time.Time
}

func (l *ledger) progress() progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return progress{len(l.ended), len(l.events), len(l.letters), l.last}
}

// missing counts the published messages, and those of them that nobody has ended.
func (l *ledger) missing() (missing, published int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.published {
		if l.ended[id] == 0 {
			missing++
		}
	}
	return missing, len(l.published)
}

// again counts what was delivered more than once, and of that what daemons had handled before: the rest was given to
// streams that were gone.
func (l *ledger) again() (redelivered, repeated int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.redelivered, l.repeated
}
