package visitor

import "time"

// maxAhead is how far a clock may run ahead before its time is taken for a mistake.
const maxAhead = 5 * time.Minute

// earliest is when any time of these vendors may start; what is before it is a mistake, such as seconds read
// as milliseconds.
var earliest = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)

// PlausibleTime reports whether something can have happened at t, as a vendor or publisher says, when it was received
// at the given time: not before 2015, and at most 5 minutes ahead of the receipt. Other times are not used; an event's
// SourceTime keeps what was sent.
func PlausibleTime(t, received time.Time) bool {
	return !t.Before(earliest) && !t.After(received.Add(maxAhead))
}
