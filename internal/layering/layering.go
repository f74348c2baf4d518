// Package layering holds the repository to its rules: who may import whom, and a few more that no compiler checks.
//
// The rules and their reasons are tables in rules.go. A new package needs a line there.
package layering

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

const module = "github.com/usherhq/usher"

// Package is what go list tells about a package of this module.
type Package struct {
	ImportPath   string
	Dir          string
	Name         string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the import path within the module: "internal/batch".
func (p Package) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// List returns the module's packages. It returns an error when go list fails or finds none.
func List(ctx context.Context, dir string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e",
		"-json=ImportPath,Dir,Name,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	var pkgs []Package
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(pkgs) == 0 {
				return nil, errors.New("go list: no packages")
			}
			return pkgs, nil
		case err != nil:
			return nil, fmt.Errorf("decode go list: %w", err)
		case p.Dir == "":
			return nil, fmt.Errorf("go list: no package %s", p.ImportPath)
		}
		pkgs = append(pkgs, p)
	}
}

// node is one end of an import.
type node struct {
	path   string // within the module, or the whole import path of others
	layer  layer
	family string // the directory under internal: "source" of internal/source/midbound
}

func newNode(importPath string) node {
	if importPath != module && !strings.HasPrefix(importPath, module+"/") {
		l := library
		if first, _, _ := strings.Cut(importPath, "/"); !strings.Contains(first, ".") {
			l = standard
		}
		return node{path: importPath, layer: l}
	}
	path := strings.TrimPrefix(importPath, module+"/")
	n := node{path: path, layer: layerOf(path)}
	if rest, ok := strings.CutPrefix(path, "internal/"); ok {
		n.family, _, _ = strings.Cut(rest, "/")
	}
	return n
}

// layerOf looks a package up: first itself, then the nearest "parent/..." that covers it.
func layerOf(path string) layer {
	if l, ok := layers[path]; ok {
		return l
	}
	last := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case strings.Contains(path, "/cmd/"):
		return tool
	case strings.HasSuffix(last, "test"):
		return forTests
	}
	for parent := path; strings.Contains(parent, "/"); {
		parent = parent[:strings.LastIndexByte(parent, '/')]
		if l, ok := layers[parent+"/..."]; ok {
			return l
		}
	}
	return unknown
}

// Imports returns what breaks the import rules, one line each.
func Imports(pkgs []Package) []string {
	var broken []string
	for _, p := range pkgs {
		from := newNode(p.ImportPath)
		if from.layer == unknown {
			broken = append(broken, fmt.Sprintf("%s has no layer: add it to the map \"layers\" in internal/layering/rules.go, "+
				"with the lowest layer that fits what it imports", from.path))
			continue
		}
		for _, imported := range p.Imports {
			broken = append(broken, check(rules, from, newNode(imported))...)
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if imported != p.ImportPath {
				broken = append(broken, check(testRules, from, newNode(imported))...)
			}
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

func check(rules []rule, from, to node) []string {
	var broken []string
	for _, r := range rules {
		if r.breaks(from, to) {
			broken = append(broken, fmt.Sprintf("%s imports %s: %s, because %s", from.path, to.path, r.says, r.reason))
		}
	}
	return broken
}
