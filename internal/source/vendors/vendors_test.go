package vendors_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/source/vendors"
)

func TestNew(t *testing.T) {
	t.Parallel()
	got := map[string]time.Duration{}
	for _, info := range vendors.New().Infos() {
		if info.Title == "" || info.Description == "" {
			t.Errorf("%s does not describe itself", info.Name)
		}
		got[info.Name] = info.RepeatAfter
	}
	want := map[string]time.Duration{"mdb_legacy": time.Hour, "midbound": 24 * time.Hour, "leadpipe": 24 * time.Hour}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources and retry windows (-want +got):\n%s", diff)
	}
}
