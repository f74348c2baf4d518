package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// letterIndexes creates what listing dead letters needs, and exempts what nothing queries.
func letterIndexes(*testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "```sh\nfor field in %s; do\n  gcloud firestore indexes composite create --collection-group=%s \\\n"+
		"    --field-config=field-path=\"$field\",order=ascending --field-config=field-path=parked_at,order=descending\ndone\n",
		strings.Join(deadletter.Indexed, " "), layout.DeadLetters)
	for _, group := range []string{layout.DeadLetters, layout.PayloadParts} {
		fmt.Fprintf(&b, "gcloud firestore fields ttls update expire_at --collection-group=%s --enable-ttl\n", group)
	}
	var exempt []string
	for _, f := range fullLetter() {
		switch f.Value.(type) {
		case store.Fields, []any, []byte, time.Time:
			if f.Name != "parked_at" {
				exempt = append(exempt, f.Name)
			}
		}
	}
	for _, group := range []struct{ name, fields string }{
		{layout.DeadLetters, strings.Join(exempt, " ")}, {layout.PayloadParts, "payload expire_at"},
	} {
		fmt.Fprintf(&b, "for field in %s; do\n  gcloud firestore indexes fields update \"$field\" --collection-group=%s --disable-indexes\ndone\n",
			group.fields, group.name)
	}
	return b.String() + "```\n"
}

// fullLetter has every field that a dead letter can have.
func fullLetter() store.Fields {
	at := time.Now()
	return (&deadletter.Record{
		Detail: "x", TenantID: "x", Source: "x", EventID: "x", MessageID: "x", Endpoint: "x", PathTenant: "x", VerifiedID: "x",
		FunctionExecutionID: "x", ReceivedAt: at, PublishedAt: at, RedrivenAt: at,
	}).Fields()
}

// TestDocs_deadLetters: every stored field is explained, and every indexed one is stored.
func TestDocs_deadLetters(t *testing.T) {
	t.Parallel()
	text := document(t, "../docs/dead-letters.md")
	var stored []string
	for _, f := range fullLetter() {
		stored = append(stored, f.Name)
		if !names(text, f.Name) {
			t.Errorf("docs/dead-letters.md lacks field %s", f.Name)
		}
	}
	for _, name := range deadletter.Indexed {
		if !slices.Contains(stored, name) {
			t.Errorf("%s is indexed and not stored", name)
		}
	}
}
