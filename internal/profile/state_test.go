package profile

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
)

// span is a webhook of a session; minutes from an arbitrary start.
type span struct {
	start, end   int
	host, tracks string
}

func (s span) event(id string) *visitor.Event {
	return at(id, day.Add(1000*time.Hour), func(ev *visitor.Event) {
		ev.Session.Host, ev.Session.TrackingID = s.host, s.tracks
		ev.Session.StartedAt = day.Add(time.Duration(s.start) * time.Minute)
		ev.Session.EndedAt = day.Add(time.Duration(s.end) * time.Minute)
	})
}

func TestVisits(t *testing.T) {
	t.Parallel()
	const hour = 60
	tests := []struct {
		name  string
		spans []span
		want  int
	}{
		{"one", []span{{0, 0, "a", "1"}}, 1},
		{"several webhooks of one session", []span{{0, 0, "a", "1"}, {0, 5, "a", "1"}, {0, 30, "a", "1"}, {0, 30, "a", "1"}}, 1},
		{"gap of 20 minutes", []span{{0, 10, "a", "1"}, {30, 40, "a", "1"}}, 1},
		{"gap of 21 minutes", []span{{0, 10, "a", "1"}, {31, 40, "a", "1"}}, 2},
		{"gap is after the latest end", []span{{0, 50, "a", "1"}, {5, 10, "a", "1"}, {65, 66, "a", "1"}}, 1},
		{"other host", []span{{0, 10, "a", "1"}, {5, 10, "b", "1"}}, 2},
		{"other tracking id", []span{{0, 10, "a", "1"}, {5, 10, "a", "2"}}, 2},
		{"hosts are counted apart", []span{{0, 0, "a", "1"}, {10, 10, "b", "1"}, {18, 18, "a", "1"}, {29, 29, "b", "1"}}, 2},
		{"24 hours", []span{{0, 12 * hour, "a", "1"}, {12*hour + 5, 23 * hour, "a", "1"}, {23*hour + 5, 25 * hour, "a", "1"}, {24 * hour, 25 * hour, "a", "1"}}, 1},
		{"over 24 hours", []span{{0, 12 * hour, "a", "1"}, {12*hour + 5, 24 * hour, "a", "1"}, {24*hour + 1, 25 * hour, "a", "1"}}, 2},
		{"end before start", []span{{10, 0, "a", "1"}, {29, 29, "a", "1"}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var events []*visitor.Event
			for i, s := range tt.spans {
				events = append(events, s.event(string(rune('a'+i))))
			}
			for range 2 {
				if got := merge(events, 1).Visits; got != tt.want {
					t.Errorf("visits = %d, want %d", got, tt.want)
				}
				slices.Reverse(events)
			}
		})
	}
}

func TestVisitWithoutSession(t *testing.T) {
	t.Parallel()
	events := []*visitor.Event{at("a", day, nil), at("b", day.Add(19*time.Minute), nil), at("c", day.Add(time.Hour), nil)}
	if got := merge(events).Visits; got != 2 {
		t.Errorf("visits = %d, want 2", got)
	}
	ongoing := at("d", day, func(ev *visitor.Event) { ev.Session.LastActivityAt = day.Add(time.Minute) })
	if got := touchOf(ongoing, day); got.end-got.start != time.Minute.Microseconds() {
		t.Errorf("touch = %+v: the last activity is its end", got)
	}
}

// TestLongJourneysKeepTheLatestTouches: what falls out is a function of the set, so it may not come back.
func TestLongJourneysKeepTheLatestTouches(t *testing.T) {
	t.Parallel()
	var events []*visitor.Event
	for i := range 2 * maxTouches {
		events = append(events, span{i * 60, i * 60, "a", "1"}.event(string(rune('a'+i))))
	}
	want := merge(events)
	if want.Visits != maxTouches {
		t.Errorf("visits = %d, want %d", want.Visits, maxTouches)
	}
	slices.Reverse(events)
	if got := merge(events, 5, 50); !slices.Equal(got.state.touches, want.state.touches) {
		t.Error("touches depend on the order")
	}
}

func TestStateRoundTrip(t *testing.T) {
	t.Parallel()
	s := state{
		stamps: stamps{
			{1, stamp{0, -5, 7}}, {2, stamp{1, 1 << 60, 8}}, {3, stamp{1, 1 << 60, 8}}, {1 << 31, stamp{0, 0, 0}},
		},
		touches: []touch{{-10, -5, 1}, {0, 9, 2}},
	}
	got := decodeState(s.encode())
	if !slices.Equal(got.stamps, s.stamps) || !slices.Equal(got.touches, s.touches) {
		t.Errorf("decoded %+v", got)
	}
}

func TestStamps(t *testing.T) {
	t.Parallel()
	var s stamps
	early, late := stamp{0, 1, 1}, stamp{0, 1, 2}
	for _, step := range []struct {
		leaf uint32
		st   stamp
		want bool
	}{{5, late, true}, {5, early, false}, {5, late, false}, {3, early, true}, {7, early, true}, {3, late, true}} {
		if got := s.raise(step.leaf, step.st); got != step.want {
			t.Errorf("raise %d to %v = %v", step.leaf, step.st, got)
		}
	}
	s.set(7, late)
	s.forget(5)
	s.forget(6)
	if want := (stamps{{3, late}, {7, late}}); !slices.Equal(s, want) {
		t.Errorf("stamps %v, want %v", s, want)
	}
}

func TestDamagedStateKeepsWhatCanBeRead(t *testing.T) {
	t.Parallel()
	s := state{stamps: stamps{{1, stamp{1, 5, 7}}, {2, stamp{1, 6, 7}}}, touches: []touch{{1, 2, 3}, {4, 5, 6}}}
	b := s.encode()
	for n := range b {
		got := decodeState(b[:n])
		if !slices.Equal(got.stamps, s.stamps[:len(got.stamps)]) {
			t.Errorf("cut to %d bytes: stamps %v", n, got.stamps)
		}
		for _, tc := range got.touches {
			if !slices.Contains(s.touches, tc) {
				t.Errorf("cut to %d bytes: touch %v", n, tc)
			}
		}
	}
	if got := decodeState(b[:len(b)-1]); len(got.stamps) != 2 || len(got.touches) != 1 {
		t.Errorf("last touch damaged: %+v", got)
	}
	if got := decodeState(append([]byte{stateVersion + 1}, b[1:]...)); len(got.stamps)+len(got.touches) != 0 {
		t.Errorf("other version: %+v", got)
	}
}

func FuzzDecodeState(f *testing.F) {
	v := merge([]*visitor.Event{span{0, 5, "a", "1"}.event("a"), span{60, 65, "b", "1"}.event("b")})
	f.Add(v.state.encode())
	f.Add([]byte(nil))
	f.Add([]byte{stateVersion, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := decodeState(b)
		if len(s.touches) > maxTouches || len(s.stamps) > len(b) {
			t.Fatalf("unbounded: %d touches, %d stamps of %d bytes", len(s.touches), len(s.stamps), len(b))
		}
		again := s.encode()
		s = decodeState(again)
		if got := s.encode(); !bytes.Equal(got, again) {
			t.Fatalf("not stable: %x, then %x", again, got)
		}
		d := store.Doc{Exists: true, Fields: store.Fields{{Name: "merge", Value: b}}}
		v := Load(d)
		v.Merge(at("x", day, func(ev *visitor.Event) { ev.Person.Title = "Engineer" }), "evt_x")
		if v.Events != 1 || v.Visits < 1 {
			t.Fatalf("merge on it: %d events, %d visits", v.Events, v.Visits)
		}
	})
}
