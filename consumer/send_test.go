package main

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store/memstore"
)

func TestWaitStoredGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := &app.Operator{Store: memstore.New(memstore.Options{})}
		start := time.Now()
		err := waitStored(t.Context(), op, map[visitor.EventID]visitor.TenantID{"evt_1": "acme"})
		if !errors.Is(err, errNotStored) {
			t.Errorf("error %v, want %v", err, errNotStored)
		}
		if d := time.Since(start); d != storedTimeout {
			t.Errorf("waited %v, want %v", d, storedTimeout)
		}
	})
}

// TestSamplesEndNow: what is sent by hand is seen under the present day.
func TestSamplesEndNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list, err := samples(simulate.Tenant{ID: "acme"}, &devlink.Endpoint{Name: "lp", Source: "leadpipe"}, 1, 3)
		if err != nil || len(list) != 3 {
			t.Fatal(len(list), err)
		}
		for i, w := range list {
			want := time.Now().UTC().Add(time.Duration(i-2) * time.Second).Format(time.RFC3339)
			if got := stringField(t, w.Body, "timestamp"); got != want {
				t.Errorf("webhook %d is of %s, want %s", i, got, want)
			}
		}
	})
}

func stringField(t *testing.T, body []byte, name string) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	s, _ := v[name].(string)
	return s
}
