package ingest_test

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
)

func TestOptionsValidate(t *testing.T) {
	t.Parallel()
	ep := ingest.Endpoint{Endpoint: resolve.Endpoint{Name: "strict", Adapter: vendor{}}, Verifier: header{}}
	good := ingest.Options{Endpoints: []ingest.Endpoint{ep}, Events: &topic{}, DeadLetters: &topic{}, Logger: slog.New(slog.DiscardHandler)}
	if _, err := ingest.New(good); err != nil {
		t.Fatalf("good options: %v", err)
	}
	_, err := ingest.New(ingest.Options{
		Endpoints: []ingest.Endpoint{ep, ep, {}}, MaxBody: 1 << 30, PublishTimeout: -1,
	})
	for _, want := range []string{
		"events: missing", "dead_letters: missing", "logger: missing", "max_body: want at most", "publish_timeout: negative",
		"endpoints[1]: name: used twice", "endpoints[2]: name: missing", "endpoints[2]: verifier: missing",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// TestBodyLimitFitsAMessage ties the largest body that may be configured to the largest message: whatever is
// accepted can at least be parked.
func TestBodyLimitFitsAMessage(t *testing.T) {
	t.Parallel()
	limit := int64(ingest.DefaultMaxBody)
	for n := limit; n < queue.MaxMessage; n += 64 << 10 { // find the largest limit that is not refused
		if (&ingest.Options{MaxBody: n}).Validate().Error() != (&ingest.Options{}).Validate().Error() {
			break
		}
		limit = n
	}
	body := make([]byte, limit)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(body) // does not compress
	m, err := envelope.EncodeDeadLetter(&envelope.DeadLetter{
		Reason:  envelope.ReasonUnusable,
		Webhook: &envelope.ParkedWebhook{Endpoint: strings.Repeat("e", 256), Body: envelope.Compress(body)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckMessage(m); err != nil {
		t.Errorf("a dead letter of %d bytes: %v", limit, err)
	}
}

// quote is s as JSON.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string can always be encoded
	return string(b)
}
