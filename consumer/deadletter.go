package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/deadletter"
)

func (c *cli) deadletterCommand() *cobra.Command {
	return group("deadletter", "List, show, redrive and purge dead letters",
		"List, show, redrive and purge dead letters, in Firestore or in the `usher dev` that "+devAddrEnv+" names.",
		c.deadletterList(), c.deadletterShow(), c.deadletterRedrive(), c.deadletterPurge())
}

// letterFlags are the filters.
type letterFlags struct {
	tenant, reason, class, source, endpoint, status, since, until string
}

func (l *letterFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.tenant, "tenant", "", "only those of a tenant, by `ID`")
	f.StringVar(&l.reason, "reason", "", "only those with a `REASON`, such as unknown_tenant")
	f.StringVar(&l.class, "class", "", "only those of a `CLASS`: pipeline or tenant")
	f.StringVar(&l.source, "source", "", "only those of a `SOURCE`, such as midbound")
	f.StringVar(&l.endpoint, "endpoint", "", "only webhooks of an endpoint, by `NAME`")
	f.StringVar(&l.since, "since", "", "only those parked since a `TIME`: RFC 3339, or ago, such as 24h or 7d")
	f.StringVar(&l.until, "until", "", "only those parked before a `TIME`: RFC 3339, or ago")
}

func (l *letterFlags) addStatus(f *pflag.FlagSet) {
	f.StringVar(&l.status, "status", string(deadletter.Parked), "only those with a `STATUS`: parked, redriven or any")
}

// filter is what the flags say, without a status.
func (l *letterFlags) filter(now time.Time) (deadletter.Filter, error) {
	f := deadletter.Filter{Source: l.source, Endpoint: l.endpoint}
	f.Tenant = visitor.TenantID(l.tenant)
	if l.tenant != "" && f.Tenant.Validate() != nil {
		return f, usagef("--tenant: %w", f.Tenant.Validate())
	}
	// Converted by assignment: the type belongs to a package that commands do not import.
	setText(&f.Reason, l.reason)
	if l.reason != "" && !slices.Contains(deadletter.Reasons(), f.Reason) {
		return f, usagef("--reason: want one of %s", list(deadletter.Reasons()))
	}
	setText(&f.Class, l.class)
	if l.class != "" && l.class != "pipeline" && l.class != "tenant" {
		return f, usagef("--class: want pipeline or tenant")
	}
	var err error
	if f.Since, err = moment(l.since, now); err != nil {
		return f, usagef("--since: %w", err)
	}
	if f.Until, err = moment(l.until, now); err != nil {
		return f, usagef("--until: %w", err)
	}
	return f, nil
}

// list is texts as a list in a sentence.
func list[T ~string](texts []T) string {
	out := make([]string, len(texts))
	for i, s := range texts {
		out[i] = string(s)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func setText[T ~string](to *T, s string) { *to = T(s) }

// withStatus adds the status to a filter.
func (l *letterFlags) withStatus(f deadletter.Filter) (deadletter.Filter, error) {
	switch l.status {
	case string(deadletter.Parked), string(deadletter.Redriven):
		f.Status = deadletter.Status(l.status)
	case "any":
	default:
		return f, usagef("--status: want parked, redriven or any")
	}
	return f, nil
}

var errMoment = errors.New("want a time such as 2026-11-22T06:00:00Z, or how long ago, such as 24h or 7d")

// moment is a time, or one that long ago; the zero time for nothing.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.UTC().AddDate(0, 0, -int(n)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, errMoment
	}
	return now.UTC().Add(-d), nil
}

func (c *cli) deadletterList() *cobra.Command {
	var l letterFlags
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters",
		Long:    "List dead letters, the one parked last first. Payloads are not printed.",
		Example: "  usher deadletter list --tenant acme --since 24h\n  usher deadletter list --class pipeline -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxLetters {
				return usagef("--limit: want 1 to %d", maxLetters)
			}
			f, err := l.filter(time.Now())
			if err == nil {
				f, err = l.withStatus(f)
			}
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				list, err := letters(cmd.Context(), op, f, limit)
				if err != nil {
					return err
				}
				return c.show(list, func(t *table) { letterRows(t, list) })
			})
		},
	}
	l.add(cmd.Flags())
	l.addStatus(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 50, "list at most `N`")
	return cmd
}

// maxLetters is the most that one command lists.
const maxLetters = 10_000

// letters reads page by page, up to limit.
func letters(ctx context.Context, op *app.Operator, f deadletter.Filter, limit int) ([]deadletter.Record, error) {
	list := []deadletter.Record{} // as JSON [], not null
	var after deadletter.Cursor
	for {
		page, next, err := deadletter.List(ctx, op.Store, f, after, min(limit-len(list), deadletter.MaxPage))
		if err != nil {
			return nil, err
		}
		list = append(list, page...)
		if len(list) == limit || next == (deadletter.Cursor{}) {
			return list, nil
		}
		after = next
	}
}

func letterRows(t *table, list []deadletter.Record) {
	t.row("ID", "PARKED", "STATUS", "REASON", "CLASS", "TENANT", "SOURCE", "ENDPOINT", "ATTEMPTS")
	for i := range list {
		r := &list[i]
		t.row(r.ID, r.ParkedAt, r.Status, r.Reason, r.Class, dash(r.TenantID), dash(r.Source), dash(r.Endpoint), r.Attempts)
	}
}

// dash stands for nothing, so that columns can be told apart.
func dash[T ~string](s T) string {
	if s == "" {
		return "-"
	}
	return string(s)
}

func (c *cli) deadletterShow() *cobra.Command {
	var payload bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter",
		Long: `Show a dead letter: why it was parked, and what is known of it. With --payload also what was parked, which is
personal data.`,
		Example: "  usher deadletter show dl_abc… -o json",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.showLetter(cmd.Context(), op, args[0], payload)
			})
		},
	}
	cmd.Flags().BoolVar(&payload, "payload", false, "print what was parked too: personal data")
	return cmd
}

// shownLetter is a dead letter as printed.
type shownLetter struct {
	*deadletter.Record
	Payload *string `json:"payload,omitempty"` // with --payload
}

func (c *cli) showLetter(ctx context.Context, op *app.Operator, id string, payload bool) error {
	rec, err := deadletter.Get(ctx, op.Store, id)
	if err != nil {
		return letterError(err)
	}
	out := shownLetter{Record: rec}
	if payload {
		b, err := deadletter.Payload(ctx, op.Store, rec)
		if err != nil {
			return err
		}
		text := string(b)
		out.Payload = &text
	}
	err = c.show(out, func(t *table) { letterPairs(t, rec) })
	if err == nil && payload && c.output == "table" {
		fmt.Fprintln(c.stdout, "\n"+harmless(*out.Payload))
	}
	return err
}

// letterError says what to do about a dead letter that is not there.
func letterError(err error) error {
	if errors.Is(err, deadletter.ErrNotFound) {
		return fmt.Errorf("%w: `usher deadletter list` shows them", err)
	}
	return err
}

func letterPairs(t *table, r *deadletter.Record) {
	t.row("id", r.ID)
	t.row("status", r.Status)
	t.row("reason", r.Reason)
	t.row("class", r.Class)
	t.pair("detail", r.Detail)
	t.row("kind", r.Kind)
	t.pair("tenant", r.TenantID)
	t.pair("source", r.Source)
	t.pair("event", r.EventID)
	t.pair("endpoint", r.Endpoint)
	t.pair("tenant in the URL", r.PathTenant)
	t.pair("verified id", r.VerifiedID)
	t.pair("execution", r.FunctionExecutionID)
	t.pair("message", r.MessageID)
	t.pair("received", r.ReceivedAt)
	t.pair("published", r.PublishedAt)
	t.row("parked", r.ParkedAt)
	t.row("kept until", r.ExpireAt)
	t.row("attempts", r.Attempts)
	t.row("redrives", r.Redrives)
	t.pair("redriven", r.RedrivenAt)
	t.row("payload", fmt.Sprintf("%d bytes compressed", r.PayloadBytes))
	for _, k := range slices.Sorted(maps.Keys(r.Attributes)) {
		t.row("attribute "+cell(k), r.Attributes[k])
	}
}

// harmless is a text of a vendor that cannot steer the terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}
