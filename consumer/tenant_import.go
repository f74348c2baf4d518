package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/tenant"
)

func (c *cli) tenantImport() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Create and update many tenants from a file",
		Long: `Make the stored tenants equal to the records of a file: a YAML list, several YAML documents, or JSON with one
record a line; "-" reads standard input. Records have the form of usher tenant show -o json. Tenants that are
not in the file stay as they are, and so does the status of those that the file gives none.

All records are checked before the first is written, and so is that no domain or pixel belongs to another record
or to another stored tenant: where anything is wrong, nothing is written. To move a domain or pixel, take it from
its tenant with an import of its own first. Importing a file twice changes nothing.`,
		Example: "  usher tenant import tenants.yaml --dry-run\n  usher tenant import tenants.ndjson",
		Args:    want("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := readRecords(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.importTenants(cmd.Context(), op.Tenants, records, dryRun)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	return cmd
}

// record is one tenant of an import file.
type record struct {
	place  string // in the file
	tenant tenant.Tenant
	err    error
}

// where is the place with the tenant's id, where that is one.
func (r *record) where() string {
	if r.tenant.ID.Validate() != nil {
		return r.place
	}
	return fmt.Sprintf("%s, tenant %s", r.place, r.tenant.ID)
}

// errImport is the sum of what was listed before.
var errImport = errors.New("import: some records have problems")

// imported is what an import did, or would do.
type imported struct {
	DryRun    bool     `json:"dry_run"`
	Created   int      `json:"created"`
	Updated   int      `json:"updated"`
	Unchanged int      `json:"unchanged"`
	Problems  []string `json:"problems"`
}

func (c *cli) importTenants(ctx context.Context, d *directory.Directory, records []record, dryRun bool) error {
	if err := checkRecords(ctx, d, records); err != nil {
		return err
	}
	sum := imported{DryRun: dryRun, Problems: problems(records)}
	if len(sum.Problems) == 0 {
		sum = putRecords(ctx, d, records, dryRun)
	}
	err := c.show(sum, func(t *table) {
		for _, p := range sum.Problems {
			t.row(p)
		}
		would := ""
		if dryRun {
			would = "would be "
		}
		t.row(fmt.Sprintf("%screated: %d, updated: %d, unchanged: %d, with problems: %d",
			would, sum.Created, sum.Updated, sum.Unchanged, len(sum.Problems)))
	})
	if len(sum.Problems) > 0 {
		err = errors.Join(err, errImport)
	}
	return err
}

// checkRecords finds what is wrong with each record and the conflicts among them and with stored tenants.
func checkRecords(ctx context.Context, d *directory.Directory, records []record) error {
	seen := make(map[visitor.TenantID]string, len(records))
	for i := range records {
		r := &records[i]
		if r.err != nil {
			continue
		}
		if first, ok := seen[r.tenant.ID]; ok {
			r.err = fmt.Errorf("same id as %s", first)
			continue
		}
		seen[r.tenant.ID] = r.place
		r.err = d.Check(&r.tenant)
	}
	var good []*record
	var tenants []*tenant.Tenant
	for i := range records {
		if r := &records[i]; r.err == nil {
			good, tenants = append(good, r), append(tenants, &r.tenant)
		}
	}
	conflicts, err := d.Conflicts(ctx, tenants)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	for i, r := range good {
		r.err = conflicts[i]
	}
	return nil
}

func problems(records []record) []string {
	out := []string{}
	for _, r := range records {
		if r.err != nil {
			out = append(out, fmt.Sprintf("%s: %s", r.where(), oneLine(r.err)))
		}
	}
	return out
}

func oneLine(err error) string {
	return string(bytes.ReplaceAll([]byte(err.Error()), []byte("\n"), []byte("; ")))
}

// importers is how many records are written at a time.
const importers = 8

func putRecords(ctx context.Context, d *directory.Directory, records []record, dryRun bool) imported {
	var mu sync.Mutex
	counts := map[directory.Change]int{}
	var g errgroup.Group
	g.SetLimit(importers)
	for i := range records {
		g.Go(func() error {
			r := &records[i]
			change, err := d.Put(ctx, &r.tenant, dryRun)
			if err != nil {
				r.err = err
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			counts[change]++
			return nil
		})
	}
	_ = g.Wait() // errors are kept with their records
	return imported{
		DryRun: dryRun, Created: counts[directory.Created], Updated: counts[directory.Updated],
		Unchanged: counts[directory.Unchanged], Problems: problems(records),
	}
}

// readRecords reads an import file in any of its forms.
func readRecords(file string, stdin io.Reader) ([]record, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(stdin)
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	var records []record
	if isLines(b) {
		records = readLines(b)
	} else {
		records = readDocuments(b)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("import: %s has no records", file)
	}
	return records, nil
}

// isLines reports whether the first line is a whole JSON object.
func isLines(b []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	return bytes.HasPrefix(line, []byte("{")) && json.Valid(line)
}

func readLines(b []byte) []record {
	var out []record
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, len(b)+1) // the whole file may be one line
	for n := 1; s.Scan(); n++ {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		r := record{place: fmt.Sprintf("line %d", n)}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if r.err = d.Decode(&r.tenant); r.err == nil && d.More() {
			r.err = errors.New("more than one record")
		}
		out = append(out, r)
	}
	return out
}

// readDocuments reads YAML: each document is one record or a list of them.
func readDocuments(b []byte) []record {
	var out []record
	d := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			return append(out, record{place: "file", err: err})
		}
		nodes := doc.Content
		if len(nodes) == 1 && nodes[0].Kind == yaml.SequenceNode {
			nodes = nodes[0].Content
		}
		for _, n := range nodes {
			if n.Tag == "!!null" {
				continue // an empty document
			}
			out = append(out, readNode(n))
		}
	}
}

// readNode encodes the node again because only a decoder of text refuses unknown keys.
func readNode(n *yaml.Node) record {
	r := record{place: fmt.Sprintf("line %d", n.Line)}
	b, err := yaml.Marshal(n)
	if err != nil {
		r.err = err
		return r
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	r.err = plainError(d.Decode(&r.tenant))
	return r
}

// relative is the line within one record, which nobody could find, and the name of a Go type.
var relative = regexp.MustCompile(`^line \d+: | in type \S+$`)

func plainError(err error) error {
	var bad *yaml.TypeError
	if !errors.As(err, &bad) {
		return err
	}
	errs := make([]error, len(bad.Errors))
	for i, text := range bad.Errors {
		errs[i] = errors.New(relative.ReplaceAllString(text, ""))
	}
	return errors.Join(errs...)
}
