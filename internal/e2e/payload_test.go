package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/testkit"
)

// finalized is a session.finalized webhook of exactly size bytes that hardly compress: what a long session's
// steps carry is noise.
func finalized(t *testing.T, id visitor.TenantID, size int) []byte {
	t.Helper()
	golden, err := os.ReadFile(filepath.Join("..", "source", "midbound", "testdata", "finalized.in.json"))
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(golden, &body); err != nil {
		t.Fatal(err)
	}
	session := body["data"].(map[string]any)["session"].(map[string]any)
	session["tenant"] = id
	body["id"] = fmt.Sprint("evt_", size)
	r := rand.New(rand.NewPCG(1, uint64(size)))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	events := session["events"].([]any)
	for i := range size / 2000 {
		events = append(events, map[string]any{
			"signal": "pageview", "url": "https://www.example.com/" + noise(600), "ts": 1739571906500 + i, "title": fmt.Sprint("Page ", i),
			"props": map[string]any{"noise": noise(600)},
		})
	}
	session["events"] = events
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	pad := size - len(encoded) - len(`,"pad":""`)
	if pad < 0 {
		t.Fatalf("%d bytes are over %d already", len(encoded), size)
	}
	end := fmt.Sprintf(`,"pad":%q}`, noise(pad)[:pad])
	return append(encoded[:len(encoded)-1], end...)
}

// rawOf reads an identification's raw payload, from its parts where there are some, as it was posted.
func (s *system) rawOf(t *testing.T, id visitor.TenantID, d store.Doc) (raw []byte, parts int) {
	t.Helper()
	compressed := d.Fields.Bytes("raw")
	parts = int(d.Fields.Int("raw_parts"))
	for i := range parts {
		p, err := layout.RawPart(id, visitor.EventID(d.Path.ID()), d.Fields.Text("raw_key"), i)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := s.backend.Store.Get(t.Context(), []store.Path{p})
		if err != nil || !docs[0].Exists {
			t.Fatalf("part %d: exists %v, %v", i, len(docs) > 0 && docs[0].Exists, err)
		}
		compressed = append(compressed, docs[0].Fields.Bytes("payload")...)
	}
	raw, err := envelope.Decompress(compressed)
	if err != nil {
		t.Fatal(err)
	}
	return raw, parts
}

// TestLargePayloads: what ingest accepts is stored whole, up to its limit, and not parked.
func TestLargePayloads(t *testing.T) {
	t.Parallel()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, open)
			s.createTenants(t, []simulate.Tenant{{ID: "large"}})
			limit := s.cfg.HTTP.MaxBody
			// The second fits its record beside a small event, but not beside a session's steps.
			bodies := map[string][]byte{}
			for _, size := range []int{limit, 1_190_000, 50_000} {
				bodies[fmt.Sprint("msg_", size)] = finalized(t, "large", size)
			}
			for id, body := range bodies {
				testkit.Eventually(t, time.Minute, func(context.Context) bool {
					status, _ := s.post(t, "midbound", "", id, body)
					return status == http.StatusOK
				}, "the webhook is accepted")
			}
			if status, _ := s.post(t, "midbound", "", "msg_over", finalized(t, "large", limit+1)); status != http.StatusRequestEntityTooLarge {
				t.Errorf("one byte more: status %d", status)
			}
			testkit.Eventually(t, 20*time.Second, func(context.Context) bool {
				return len(s.identifications(t, "large")) == len(bodies)
			}, "all are stored")
			s.drained(t, len(bodies))
			inParts := 0
			for _, d := range s.identifications(t, "large") {
				raw, parts := s.rawOf(t, "large", d)
				body, ok := bodies[fmt.Sprint("msg_", len(raw))]
				if !ok || !bytes.Equal(raw, body) {
					t.Errorf("%d bytes are stored that nobody sent", len(raw))
				}
				if len(body) == limit && parts < 3 {
					t.Errorf("%d bytes in %d parts: this test does not test what it should", len(body), parts)
				}
				if parts > 0 {
					inParts++
				}
				t.Logf("%d bytes: %d parts", len(body), parts)
			}
			if _, _, parked := s.ended(); parked != 0 || inParts == 0 {
				t.Errorf("%d parked, %d in parts", parked, inParts)
			}
			if u := s.usage(t, "large", time.Now().UTC()); u.Events != int64(len(bodies)) {
				t.Errorf("usage %+v", u.Counts)
			}
		})
	}
}
