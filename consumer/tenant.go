package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/tenant"
)

func (c *cli) tenantCommand() *cobra.Command {
	return group("tenant", "Create, list and change tenants",
		"Create, list and change tenants, in Firestore or in the `usher dev` that "+devAddrEnv+" names.",
		c.tenantCreate(), c.tenantList(), c.tenantShow(), c.tenantUpdate(),
		c.tenantDisable(), c.tenantEnable(), c.tenantOffboard(), c.tenantImport())
}

func (c *cli) tenantCreate() *cobra.Command {
	var t tenant.Tenant
	var processors []string
	var processorsFile string
	cmd := &cobra.Command{
		Use:   "create ID",
		Short: "Create a tenant",
		Long: `Create an active tenant. Its domains and pixels route events to it; each belongs to one tenant only.
Without processors it has the default chain: profile. Processors that need settings, such as filter and score, come
from --processors-file.`,
		Example: "  usher tenant create acme --name Acme --domain www.acme.example\n" +
			"  usher tenant create initech --pixel px-1 --processor profile\n" +
			"  usher tenant create hooli --processors-file chain.yaml",
		Args: want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(processors) > 0 && processorsFile != "" {
				return usagef("give --processor or --processors-file, not both")
			}
			var err error
			if t.ID, err = tenantID(args[0]); err != nil {
				return err
			}
			chain, err := readProcessors(processorsFile)
			if err != nil {
				return err
			}
			for _, name := range processors {
				t.Processors = append(t.Processors, tenant.Binding{Name: name})
			}
			t.Processors = append(t.Processors, chain...)
			return c.changeTenant(cmd.Context(), t.ID, func(d *directory.Directory) (*tenant.Tenant, error) {
				return d.Create(cmd.Context(), &t)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.Name, "name", "", "`NAME` for people")
	f.StringArrayVar(&t.Domains, "domain", nil, "website `HOST` of the tenant; repeat for more")
	f.StringArrayVar(&t.Pixels, "pixel", nil, "vendor's pixel or workspace `ID` of the tenant; repeat for more")
	f.StringArrayVar(&processors, "processor", nil, "`NAME` of a processor that needs no settings; repeat for a chain")
	f.StringVar(&processorsFile, "processors-file", "", "YAML or JSON `FILE` with the chain: a list of {name, settings}")
	return cmd
}

// tenantID checks an id before anything is read.
func tenantID(arg string) (visitor.TenantID, error) {
	id := visitor.TenantID(arg)
	if err := id.Validate(); err != nil {
		return "", usagef("%w", err)
	}
	return id, nil
}

// changeTenant prints the record that do returns.
func (c *cli) changeTenant(
	ctx context.Context, id visitor.TenantID, do func(*directory.Directory) (*tenant.Tenant, error),
) error {
	return c.operate(ctx, func(_ *config.Config, op *app.Operator) error {
		t, err := do(op.Tenants)
		if err != nil {
			return tenantError(id, err)
		}
		return c.show(t, tenantRows(t))
	})
}

// tenantError says what to do about an error of the directory.
func tenantError(id visitor.TenantID, err error) error {
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return fmt.Errorf("no tenant %q: `usher tenant list` shows them, `usher tenant create` makes one", id)
	case errors.Is(err, directory.ErrExists):
		return fmt.Errorf("tenant %q exists: `usher tenant update` changes it", id)
	}
	return fmt.Errorf("tenant %q: %w", id, err)
}

func tenantRows(tn *tenant.Tenant) func(t *table) {
	return func(t *table) {
		t.row("id", tn.ID)
		t.pair("name", tn.Name)
		t.row("status", tn.Status)
		t.pair("domains", tn.Domains)
		t.pair("pixels", tn.Pixels)
		for i, p := range tn.Chain() {
			name := ""
			if i == 0 {
				name = "processors"
			}
			t.row(name, p.Name+settings(p.Settings))
		}
		t.pair("usage pages", tn.UsagePages)
		t.pair("usage campaigns", tn.UsageCampaigns)
		t.row("created", tn.CreatedAt)
		t.row("updated", tn.UpdatedAt)
		t.row("version", tn.Version)
	}
}

func (c *cli) tenantList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List all tenants",
		Long:    "List all tenants in the order of their ids.",
		Example: "  usher tenant list\n  usher tenant list -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				all, err := allTenants(cmd.Context(), op.Tenants)
				if err != nil {
					return err
				}
				return c.show(all, func(t *table) {
					t.row("ID", "NAME", "STATUS", "DOMAINS", "PROCESSORS")
					for _, tn := range all {
						t.row(tn.ID, tn.Name, tn.Status, abbreviate(tn.Domains), chainNames(tn))
					}
				})
			})
		},
	}
}

// pageSize is how many records one request lists.
const pageSize = 500

func allTenants(ctx context.Context, d *directory.Directory) ([]*tenant.Tenant, error) {
	all := []*tenant.Tenant{}
	for after := visitor.TenantID(""); ; after = all[len(all)-1].ID {
		page, err := d.List(ctx, after, pageSize)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
	}
}

func abbreviate(list []string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func chainNames(t *tenant.Tenant) []string {
	names := make([]string, 0, len(t.Chain()))
	for _, b := range t.Chain() {
		names = append(names, b.Name)
	}
	return names
}

// tenantEdit is what `tenant update` changes.
type tenantEdit struct {
	name                            string
	addDomains, removeDomains       []string
	addPixels, removePixels         []string
	processorsFile, file            string
	nameSet, processorsSet, fileSet bool
}

func (c *cli) tenantUpdate() *cobra.Command {
	var e tenantEdit
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change a tenant",
		Long: `Change what the flags name and keep the rest, or with --file replace the whole record. A processor that this
build does not know, or a setting that it refuses, is an error and nothing changes. Running daemons take a
change up within tenants.staleness, 10 seconds by default.`,
		Example: "  usher tenant update acme --add-domain shop.acme.example\n" +
			"  usher tenant update acme --processors-file chain.yaml",
		Args: want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			e.nameSet, e.processorsSet, e.fileSet = f.Changed("name"), f.Changed("processors-file"), f.Changed("file")
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			change, err := e.change(id)
			if err != nil {
				return err
			}
			return c.changeTenant(cmd.Context(), id, func(d *directory.Directory) (*tenant.Tenant, error) {
				return d.Update(cmd.Context(), id, change)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.name, "name", "", "`NAME` for people")
	f.StringArrayVar(&e.addDomains, "add-domain", nil, "add a website `HOST`; repeat for more")
	f.StringArrayVar(&e.removeDomains, "remove-domain", nil, "remove a website `HOST`")
	f.StringArrayVar(&e.addPixels, "add-pixel", nil, "add a vendor's pixel or workspace `ID`; repeat for more")
	f.StringArrayVar(&e.removePixels, "remove-pixel", nil, "remove a pixel or workspace `ID`")
	f.StringVar(&e.processorsFile, "processors-file", "", "YAML or JSON `FILE` with the new chain: a list of {name, settings}")
	f.StringVar(&e.file, "file", "", "YAML or JSON `FILE` with the whole record")
	return cmd
}

// change reads the files before anything is touched.
func (e *tenantEdit) change(id visitor.TenantID) (func(*tenant.Tenant) error, error) {
	edits := len(e.addDomains) + len(e.removeDomains) + len(e.addPixels) + len(e.removePixels)
	single := e.nameSet || e.processorsSet || edits > 0
	switch {
	case e.fileSet && single:
		return nil, usagef("--file replaces the whole record: use it alone")
	case e.fileSet:
		return wholeRecord(id, e.file)
	case !single:
		return nil, usagef("nothing to change: give --name, --add-domain, --processors-file or another flag of usher tenant update --help")
	}
	chain, err := readProcessors(e.processorsFile)
	if err != nil {
		return nil, err
	}
	return func(t *tenant.Tenant) error {
		if e.nameSet {
			t.Name = e.name
		}
		if e.processorsSet {
			t.Processors = chain
		}
		var errs [2]error
		t.Domains, errs[0] = edit("domain", t.Domains, e.addDomains, e.removeDomains)
		t.Pixels, errs[1] = edit("pixel", t.Pixels, e.addPixels, e.removePixels)
		return errors.Join(errs[:]...)
	}, nil
}

func wholeRecord(id visitor.TenantID, file string) (func(*tenant.Tenant) error, error) {
	var n tenant.Tenant
	if err := readYAML(file, &n); err != nil {
		return nil, err
	}
	if n.ID != "" && n.ID != id {
		return nil, fmt.Errorf("%s: id is %q: want %q, or none", file, n.ID, id)
	}
	return func(t *tenant.Tenant) error {
		if n.Status == "" {
			n.Status = t.Status
		}
		*t = n
		return nil
	}, nil
}

func edit(what string, list, add, remove []string) ([]string, error) {
	for _, r := range remove {
		i := slices.IndexFunc(list, func(s string) bool { return strings.EqualFold(s, r) })
		if i < 0 {
			return nil, fmt.Errorf("no %s %q to remove: the tenant has %q", what, r, list)
		}
		list = slices.Delete(list, i, i+1)
	}
	return append(list, add...), nil
}
