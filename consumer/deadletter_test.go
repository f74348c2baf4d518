package main

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/usherhq/usher/internal/deadletter"
)

// until asks until the answer is there.
func until(ts *testscript.TestScript, what string, answered func() bool) {
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !answered() {
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("not within a minute: %s", what)
		}
	}
}

// answer runs usher and reads its JSON.
func answer(ts *testscript.TestScript, to any, args ...string) bool {
	if err := ts.Exec("usher", append(args, "-o", "json")...); err != nil {
		return false
	}
	return json.Unmarshal([]byte(ts.ReadFile("stdout")), to) == nil
}

// letter waits for a dead letter and sets a variable to its id: letter VAR [filters].
func letter(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "a dead letter", func() bool {
		var list []struct{ ID string }
		if !answer(ts, &list, append([]string{"deadletter", "list"}, args[1:]...)...) || len(list) == 0 {
			return false
		}
		ts.Setenv(args[0], list[0].ID)
		return true
	})
}

// storedEvents waits until a tenant has so many events: stored TENANT N.
func storedEvents(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "events of "+args[0], func() bool {
		var month struct{ Events json.Number }
		return answer(ts, &month, "usage", args[0]) && month.Events.String() == args[1]
	})
}

// redrivenTenant puts a tenant's dead letters back until its events are stored: a daemon learns of a tenant's status
// after a while, and parks what comes before.
func redrivenTenant(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "events of "+args[0], func() bool {
		var report struct{ Redriven int }
		var month struct{ Events int }
		return answer(ts, &report, "deadletter", "redrive", "--tenant", args[0]) &&
			answer(ts, &month, "usage", args[0]) && month.Events == 1
	})
}

func TestMoment(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "90m": now.Add(-90 * time.Minute), "7d": now.AddDate(0, 0, -7), "0d": now,
		"2026-11-01T01:00:00+01:00": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := moment(in, now); err != nil || !got.Equal(want) {
			t.Errorf("moment(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"d", "-1d", "1.5d", "-24h", "soon", "2026-11-01"} {
		if got, err := moment(in, now); !errors.Is(err, errMoment) {
			t.Errorf("moment(%q) = %v, %v, want an error", in, got, err)
		}
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	if got := harmless("a\tb\n\x1b[31mc\u009b"); got != "a\tb\n·[31mc·" {
		t.Errorf("harmless = %q", got)
	}
}

// TestRefusedError: what puts the stale ones back is said where there are any.
func TestRefusedError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		report deadletter.Report
		want   string
	}{
		{deadletter.Report{Matched: 3, Refused: 2}, "2 of 3 dead letters were refused"},
		{deadletter.Report{Matched: 3, Refused: 2, Stale: 1},
			"2 of 3 dead letters were refused, 1 of them as stale: --allow-stale puts those back"},
	} {
		if got := refusedError(&tt.report).Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
