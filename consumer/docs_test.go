package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/condition"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/usage"
)

//go:generate go test . -run ^TestDocs_generated$ -update

var update = flag.Bool("update", false, "write the generated parts of the documents anew")

// generated are the parts of the documents that are made from the code, by the name in their marker.
var generated = map[string]func(*testing.T) string{
	"config":      func(*testing.T) string { return config.MarkdownTable() },
	"commands":    commandTable,
	"processors":  processorTable,
	"operators":   func(*testing.T) string { return "`" + strings.Join(operators(), "`, `") + "`\n" },
	"pubsub":      pubsubCommands,
	"exemptions":  exemptionCommands,
	"dead_letter": reasonTable,

	"dead_letter_indexes": letterIndexes,
}

// block is a generated part: its markers, its name and its text.
var block = regexp.MustCompile(`(?s)(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)`)

func TestDocs_generated(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for name, text := range documents(t) {
		fresh := block.ReplaceAllStringFunc(text, func(old string) string {
			m := block.FindStringSubmatch(old)
			made := generated[m[2]]
			if made == nil {
				t.Errorf("%s: nothing generates %q", name, m[2])
				return old
			}
			found[m[2]] = true
			return m[1] + made(t) + m[4]
		})
		if diff := cmp.Diff(text, fresh); diff != "" && !*update {
			t.Errorf("%s is out of date, `make generate` writes it (-is +want):\n%s", name, diff)
		} else if diff != "" {
			if err := os.WriteFile(name, []byte(fresh), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name := range generated {
		if !found[name] {
			t.Errorf("no document has the generated part %q", name)
		}
	}
}

// documents returns the text of all documents by file.
func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range append(names, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md", "../terraform/README.md") {
		out[name] = document(t, name)
	}
	return out
}

func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func rootForDocs() *cobra.Command {
	return (&cli{stdout: io.Discard, stderr: io.Discard}).rootCommand()
}

func commandTable(*testing.T) string {
	var b strings.Builder
	b.WriteString("| command | what it does | flags |\n|---|---|---|\n")
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.HasParent() && !c.HasSubCommands() {
			var flags []string
			c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { flags = append(flags, "`--"+f.Name+"`") })
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.TrimSuffix(c.UseLine(), " [flags]"), c.Short, strings.Join(flags, " "))
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(rootForDocs())
	return b.String()
}

func registry(t *testing.T) *processor.Registry {
	t.Helper()
	r, err := app.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func processorTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| processor | setting | type | default | meaning |\n|---|---|---|---|---|\n")
	for _, p := range registry(t).Registrations() {
		fmt.Fprintf(&b, "| `%s` | | | | %s |\n", p.Name, p.Description)
		for _, s := range p.Settings {
			def := "required"
			if !s.Required {
				def = fmt.Sprintf("`%v`", s.Default)
			}
			fmt.Fprintf(&b, "| | `%s` | %s | %s | %s |\n", s.ID, s.Type, def, s.Description)
		}
	}
	return b.String()
}

func operators() []string {
	var out []string
	for _, op := range condition.Ops() {
		out = append(out, string(op))
	}
	return out
}

func defaultConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// pubsubCommands creates what the daemon expects.
func pubsubCommands(t *testing.T) string {
	t.Helper()
	top := app.Topology(defaultConfig(t))
	var b strings.Builder
	fmt.Fprintf(&b, "```sh\ngcloud pubsub topics create %s\n", strings.Join(top.Topics, " "))
	for _, s := range top.Subscriptions {
		// Dead letters are kept for as long as the service can; the emulator refuses that, so Topology does not say it.
		last := fmt.Sprintf("--message-retention-duration=%.0fd", queue.MaxRetention.Hours()/24)
		if s.DeadLetterTopic != "" {
			last = fmt.Sprintf("--dead-letter-topic=%s --max-delivery-attempts=%d", s.DeadLetterTopic, s.MaxAttempts)
		}
		fmt.Fprintf(&b, "gcloud pubsub subscriptions create %s --topic=%s \\\n"+
			"  --ack-deadline=%.0f --min-retry-delay=%.0fs --max-retry-delay=%.0fs \\\n  %s --expiration-period=never\n",
			s.Name, s.Topic, s.AckDeadline.Seconds(), s.MinBackoff.Seconds(), s.MaxBackoff.Seconds(), last)
	}
	return b.String() + "```\n"
}

// queried are the fields that queries use; every other list, map, time and binary field is exempt from indexes, and so are
// the texts that no query could use.
var (
	queried   = []string{layout.Identifications + ".received_at", layout.Visitors + ".last_seen", layout.Visitors + ".identifiers"}
	longTexts = []string{layout.Identifications + ".event"}
)

func exemptionCommands(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("```sh\n")
	for _, group := range []string{layout.Identifications, layout.Visitors, layout.UsageShards, layout.Held} {
		var exempt []string
		for _, f := range fullDocuments(t)[group] {
			switch f.Value.(type) {
			case store.Fields, []any, []byte, time.Time:
				if !slices.Contains(queried, group+"."+f.Name) {
					exempt = append(exempt, f.Name)
				}
			case string:
				if slices.Contains(longTexts, group+"."+f.Name) {
					exempt = append(exempt, f.Name)
				}
			}
		}
		fmt.Fprintf(&b, "for field in %s; do\n  gcloud firestore indexes fields update \"$field\" --collection-group=%s --disable-indexes\ndone\n",
			strings.Join(exempt, " "), group)
	}
	return b.String() + "```\n"
}

// fullDocuments has one document of each collection with every field that it can have.
func fullDocuments(t *testing.T) map[string]store.Fields {
	t.Helper()
	ev := visitor.Event{}
	fill(reflect.ValueOf(&ev).Elem())
	r := profile.Record{Event: &ev, Raw: []byte{1}, RawEncoding: envelope.Zstd, ProcessedAt: time.Now(), ExpireAt: time.Now()}
	v := profile.Load(store.Doc{})
	v.Merge(&ev, ev.ID)
	v.AddScore("score", 1)

	var d usage.Delta
	d.Add(&ev, &tenant.Tenant{UsagePages: []string{"a"}, UsageCampaigns: []string{"b"}}, usage.FirstMatch)
	d.Count(&ev, processor.Count{Name: "x", N: 1})
	var counters store.Fields
	writes, err := d.Writes(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		for _, inc := range w.Add {
			f := store.Field{Name: inc.Field[0], Value: inc.N}
			if len(inc.Field) > 1 {
				f.Value = store.Fields{}
			}
			if !slices.ContainsFunc(counters, func(o store.Field) bool { return o.Name == f.Name }) {
				counters = append(counters, f)
			}
		}
	}
	return map[string]store.Fields{
		layout.Identifications: r.Fields(), layout.Visitors: v.Fields(time.Now()), layout.UsageShards: counters,
		layout.Held: held.Fields(),
	}
}

// fill sets every field to something.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]any{"a": "b"}))
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

// reasons are why something is parked, with what each means in the documents.
func reasonTable(*testing.T) string {
	var b strings.Builder
	b.WriteString("| reason | class | when |\n|---|---|---|\n")
	for _, r := range []struct {
		reason envelope.Reason
		when   string
	}{
		{envelope.ReasonUndecodable, "neither an event nor a cookbook message"},
		{envelope.ReasonTooLarge, "over what a document or a message can hold"},
		{envelope.ReasonForbiddenID, "an id that cannot be a path segment"},
		{envelope.ReasonStoreRefused, "Firestore refused it when committed alone"},
		{envelope.ReasonStale, "first received longer ago than `identity.window`"},
		{envelope.ReasonUnusable, "an authentic webhook that its adapter can make no event of"},
		{envelope.ReasonUnknownTenant, "no such tenant, or nobody's domain or pixel"},
		{envelope.ReasonTenantInactive, "the tenant has a status that the daemon does not know"},
		{envelope.ReasonTenantMismatch, "URL, payload, attribute or routes name different tenants"},
		{envelope.ReasonTenantForbidden, "the endpoint may not speak for the tenant"},
		{envelope.ReasonProcessor, "a processor's permanent error, or its panic"},
	} {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.reason, r.reason.Class(), r.when)
	}
	return b.String()
}

var (
	fence  = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```")
	inline = regexp.MustCompile("`(usher(?: [^`]+)?)`")
	call   = regexp.MustCompile(`(?:^|[\s;|(])(?:\./|bin/)?usher( [^;|&#<>\n]*)?`)
)

// TestDocs_commands: every usher command in the documents exists, with its flags.
func TestDocs_commands(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, text := range documents(t) {
		var lines []string
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			lines = append(lines, m[1])
		}
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] == "sh" {
				lines = append(lines, strings.Split(strings.ReplaceAll(m[2], "\\\n", " "), "\n")...)
			}
		}
		for _, line := range lines {
			for _, m := range call.FindAllStringSubmatch(line, -1) {
				seen++
				if err := checkCall(strings.Fields(m[1])); err != nil {
					t.Errorf("%s: %q: %v", name, line, err)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("found only %d commands in the documents", seen)
	}
}

// checkCall checks the words behind "usher": the command and the names of its flags.
func checkCall(words []string) error {
	cmd, rest, err := rootForDocs().Find(words)
	if err != nil {
		return err //nolint:wrapcheck // the test says where
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("no command %q", rest[0])
	}
	for _, w := range rest {
		name, isFlag := strings.CutPrefix(w, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && name != "help" && cmd.Flag(name) == nil {
			return fmt.Errorf("no flag --%s", name)
		}
	}
	return nil
}

// TestDocs_files: every YAML file in the documents is one that usher accepts.
func TestDocs_files(t *testing.T) {
	t.Parallel()
	chains, configs := 0, 0
	for name, text := range documents(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "yaml" {
				continue
			}
			var err error
			if strings.HasSuffix(name, "processors.md") {
				chains++
				err = checkChain(registry(t), m[2])
			} else {
				configs++
				err = checkConfig(t, m[2])
			}
			if err != nil {
				t.Errorf("%s: %v in\n%s", name, err, m[2])
			}
		}
	}
	if chains < 3 || configs < 1 {
		t.Errorf("found only %d chains and %d configurations", chains, configs)
	}
}

func checkChain(r *processor.Registry, text string) error {
	tn := tenant.Tenant{ID: "acme", Status: tenant.Active}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&tn.Processors); err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	return tn.Validate(r)
}

func checkConfig(t *testing.T, text string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"USHER_ENDPOINTS_MIDBOUND_SECRETS=whsec_VEVTVFRFU1RURVNUVEVTVFRFU1RURVNU"}
	for _, name := range []string{"LEADPIPE", "MDB"} {
		env = append(env, "USHER_ENDPOINTS_"+name+"_SECRETS=test-secret-of-enough-bytes")
	}
	cfg, err := config.Load(config.Options{File: file, Env: env})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	_, err = app.Endpoints(cfg)
	return err
}

// TestDocs_fields: every name that is stored, published or logged is explained, written `name` or "name".
func TestDocs_fields(t *testing.T) {
	t.Parallel()
	firestore, events := document(t, "../docs/firestore.md"), document(t, "../docs/events.md")
	for group, fields := range fullDocuments(t) {
		for _, f := range fields {
			if !names(firestore, f.Name) {
				t.Errorf("docs/firestore.md lacks field %s of %s", f.Name, group)
			}
		}
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[envelope.Event](), reflect.TypeFor[envelope.DeadLetter](),
		reflect.TypeFor[envelope.ParkedMessage](), reflect.TypeFor[envelope.ParkedWebhook](),
	} {
		for i := range typ.NumField() {
			if name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); name != "-" && !names(events, name) {
				t.Errorf("docs/events.md lacks %s of %s", name, typ)
			}
		}
	}
	for _, name := range []string{
		envelope.AttrTenant, envelope.AttrEventType, envelope.AttrEvent, envelope.AttrSource, envelope.AttrSchema,
		envelope.AttrReason, envelope.AttrClass,
	} {
		if !names(events, name) {
			t.Errorf("docs/events.md lacks attribute %s", name)
		}
	}
}

// TestDocs_logging: a whole run logs no field that is not explained.
func TestDocs_logging(t *testing.T) {
	t.Parallel()
	text := document(t, "../docs/logging.md")
	var logged bytes.Buffer
	args := []string{"dev", "--samples", "--once", "--port", "0", "--log-level", "info", "--log-format", "json"}
	if err := run(t.Context(), args, nil, io.Discard, &logged); err != nil {
		t.Fatal(err)
	}
	lines := map[any]int{}
	for line := range bytes.Lines(logged.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		lines[fields["message"]]++
		for name := range fields {
			if !names(text, name) {
				t.Errorf("docs/logging.md lacks %s of the line %q", name, fields["message"])
			}
		}
	}
	if lines["receipt"] == 0 || lines["message"] == 0 {
		t.Errorf("lines by message: %v, want receipts and messages", lines)
	}
}

func names(text, name string) bool {
	return strings.Contains(text, "`"+name+"`") || strings.Contains(text, `"`+name+`"`)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s#:]*)#([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// TestDocs_anchors: links to a heading of a document lead to one. That the files exist is internal/layering's to test.
func TestDocs_anchors(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	for name, text := range docs {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to := name
			if m[1] != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(name), m[1]))
			}
			found := slices.ContainsFunc(heading.FindAllStringSubmatch(docs[to], -1), func(h []string) bool { return anchor(h[1]) == m[2] })
			if !found {
				t.Errorf("%s links to %s#%s, which is no heading", name, m[1], m[2])
			}
		}
	}
}

// anchor is a heading as GitHub links to it.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
