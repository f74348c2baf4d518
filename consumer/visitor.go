package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/query"
)

func (c *cli) visitorCommand() *cobra.Command {
	return group("visitor", "List and show a tenant's visitors",
		"List and show a tenant's visitors. What is printed is personal data.", c.visitorList(), c.visitorShow())
}

func (c *cli) visitorList() *cobra.Command {
	var limit int
	var email, linkedIn string
	cmd := &cobra.Command{
		Use:   "list TENANT",
		Short: "List a tenant's visitors",
		Long: `List a tenant's visitors, the one seen last first, or those that were seen with an e-mail address or a
LinkedIn profile. Identifiers are stored as hashes, so they are found only whole.`,
		Example: "  usher visitor list acme --limit 50\n  usher visitor list acme --email ada@example.com",
		Args:    want("TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > query.MaxLimit {
				return usagef("--limit: want 1 to %d", query.MaxLimit)
			}
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			by, err := identifier(email, linkedIn)
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.listVisitors(cmd.Context(), op, id, by, limit)
			})
		},
	}
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 20, "list at most `N`, up to 1000; a line on standard error says when there are more")
	f.StringVar(&email, "email", "", "only those seen with an `ADDRESS`")
	f.StringVar(&linkedIn, "linkedin", "", "only those seen with a profile `URL`")
	return cmd
}

// identifier is what to look for, nil for nothing.
func identifier(email, linkedIn string) (*visitor.Identifier, error) {
	switch {
	case email != "" && linkedIn != "":
		return nil, usagef("give --email or --linkedin, not both")
	case email != "":
		return &visitor.Identifier{Kind: visitor.IdentifierEmail, Value: strings.ToLower(strings.TrimSpace(email))}, nil
	case linkedIn != "":
		u := visitor.NormalizeLinkedIn(linkedIn)
		if u == "" {
			return nil, usagef("--linkedin: want a profile's URL, such as https://www.linkedin.com/in/name")
		}
		return &visitor.Identifier{Kind: visitor.IdentifierLinkedIn, Value: u}, nil
	}
	return nil, nil
}

func (c *cli) listVisitors(
	ctx context.Context, op *app.Operator, id visitor.TenantID, by *visitor.Identifier, limit int,
) error {
	if _, err := op.Tenants.Fresh(ctx, id); err != nil {
		return tenantError(id, err)
	}
	var list []visitor.Profile
	var err error
	most := min(limit+1, query.MaxLimit) // one more tells whether there are more
	if by != nil {
		list, err = query.VisitorsBy(ctx, op.Store, id, *by, most)
	} else {
		list, err = query.Visitors(ctx, op.Store, id, most)
	}
	if err != nil {
		return err
	}
	switch {
	case len(list) > limit:
		list = list[:limit]
		fmt.Fprintf(c.stderr, "usher: there are more than these %d visitors: --limit takes up to %d\n", limit, query.MaxLimit)
	case len(list) == query.MaxLimit:
		fmt.Fprintf(c.stderr, "usher: there may be more than these %d visitors\n", query.MaxLimit)
	}
	return c.show(list, func(t *table) { visitorRows(t, list) })
}

func visitorRows(t *table, list []visitor.Profile) {
	t.row("VISITOR", "LAST SEEN", "EVENTS", "VISITS", "SOURCES", "NAME", "E-MAIL", "COMPANY")
	for i := range list {
		v := &list[i]
		t.row(v.ID, v.LastSeen, v.Events, v.Visits, v.Sources, personName(&v.Person), firstEmail(&v.Person), v.Company.Name)
	}
}

func personName(p *visitor.Person) string {
	if p.FirstName != "" || p.LastName != "" {
		return strings.TrimSpace(p.FirstName + " " + p.LastName)
	}
	return p.FullName
}

func firstEmail(p *visitor.Person) string {
	if len(p.Emails) == 0 {
		return ""
	}
	return p.Emails[0].Address
}

func (c *cli) visitorShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show TENANT VISITOR",
		Short:   "Show a visitor with its latest identifications",
		Long:    "Show a visitor's merged profile with its latest identifications.",
		Example: "  usher visitor show acme vis_abc… -o json",
		Args:    want("TENANT", "VISITOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.showVisitor(cmd.Context(), op, id, visitor.VisitorID(args[1]))
			})
		},
	}
}

// latest is how many identifications are shown.
const latest = 10

func (c *cli) showVisitor(ctx context.Context, op *app.Operator, t visitor.TenantID, id visitor.VisitorID) error {
	if _, err := op.Tenants.Fresh(ctx, t); err != nil {
		return tenantError(t, err)
	}
	p, err := query.Visitor(ctx, op.Store, t, id)
	if errors.Is(err, query.ErrNotFound) {
		return fmt.Errorf("no visitor %q of tenant %q: `usher visitor list %s` shows them", id, t, t)
	}
	if err != nil {
		return err
	}
	events, err := query.Identifications(ctx, op.Store, t, id, latest)
	if err != nil {
		return err
	}
	out := struct {
		Visitor         *visitor.Profile `json:"visitor"`
		Identifications []profile.Stored `json:"identifications"`
	}{p, events}
	return c.show(out, func(t *table) {
		profileRows(t, p)
		t.row()
		t.row("IDENTIFICATION", "RECEIVED", "SOURCE", "STAGE", "FIRST MATCH")
		for i := range events {
			e := &events[i]
			t.row(e.ID, e.Event.Receipt.ReceivedAt, e.Event.Source, e.Event.Stage, e.FirstMatch)
		}
	})
}

func profileRows(t *table, p *visitor.Profile) {
	t.row("visitor", p.ID)
	t.row("tenant", p.TenantID)
	t.pair("name", personName(&p.Person))
	t.pair("title", p.Person.Title)
	for _, m := range p.Person.Emails {
		t.row("e-mail", strings.TrimSpace(m.Address+" "+string(m.Kind)))
	}
	for _, n := range p.Person.Phones {
		t.row("phone", strings.TrimSpace(n.Number+" "+n.Kind))
	}
	t.pair("linkedin", p.Person.LinkedInURL)
	t.pair("company", p.Company.Name)
	t.pair("domain", p.Company.Domain)
	t.pair("page", p.Attribution.PageID)
	t.pair("campaign", p.Attribution.CampaignID)
	t.row("sources", p.Sources)
	t.row("first seen", p.FirstSeen)
	t.row("last seen", p.LastSeen)
	t.row("events", p.Events)
	t.row("visits", p.Visits)
	for _, name := range slices.Sorted(maps.Keys(p.Scores)) {
		t.row("score "+name, p.Scores[name])
	}
}
