package queue

import "time"

// WithDefaults returns f with its zero fields set, so that every driver holds the same bounds.
func (f FlowControl) WithDefaults() FlowControl {
	if f.MaxMessages <= 0 {
		f.MaxMessages = 1000
	}
	if f.MaxBytes <= 0 {
		f.MaxBytes = 64 << 20
	}
	// More streams than messages would let each stream hold one message too many.
	f.Streams = min(max(f.Streams, 1), f.MaxMessages)
	if f.Lease <= 0 {
		f.Lease = MinAckDeadline
	}
	f.Lease = min(max(f.Lease, MinAckDeadline), MaxAckDeadline)
	if f.MaxHold <= 0 {
		f.MaxHold = time.Hour
	}
	if f.Shutdown <= 0 {
		f.Shutdown = 10 * time.Second
	}
	return f
}
