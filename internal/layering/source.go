package layering

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxLines is the length of a file that a reader can hold; tests and generated files may be longer.
const maxLines = 600

// processWide are the functions by which code reads the environment or ends the process. Code that calls them cannot
// be run twice in one process, as tests and "usher dev" do. os/signal is forbidden as an import.
var processWide = map[string][]string{
	"os":  {"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Exit"},
	"log": {"Fatal", "Fatalf", "Fatalln"},
}

// mayBeProcessWide lets the program's ends in, and development tools and test helpers, which are no part of it.
func mayBeProcessWide(pkg Package, file string) bool {
	switch layerOf(pkg.path()) {
	case entry:
		return pkg.path() == "functions" || file == "main.go"
	case conf, tool, forTests:
		return true
	}
	return false
}

// Docs returns the packages whose doc comment does not say their purpose in one sentence: "Package x ...", or
// "Command x ..." for a main package.
func Docs(pkgs []Package) []string {
	var broken []string
	for _, p := range pkgs {
		start := "Package " + p.Name + " "
		if p.Name == "main" {
			start = "Command "
		}
		switch {
		case len(p.GoFiles) == 0:
		case !strings.HasPrefix(p.Doc, start):
			broken = append(broken, fmt.Sprintf("%s: its doc comment must start with %q and say the purpose in one sentence", p.path(), start))
		case !strings.HasSuffix(p.Doc, "."): // go list gives the first sentence
			broken = append(broken, fmt.Sprintf("%s: the first sentence of its doc comment must end with a full stop", p.path()))
		}
	}
	return broken
}

// Sources returns what breaks the rules on the files of a package: process-wide calls outside the program's ends, and
// files that are too long. It returns an error for a file that cannot be read or parsed.
func Sources(p Package) ([]string, error) {
	var broken []string
	for _, name := range p.GoFiles {
		src, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse source: %w", err)
		}
		place := p.path() + "/" + name
		if n := bytes.Count(src, []byte("\n")); n > maxLines && !ast.IsGenerated(file) {
			broken = append(broken, fmt.Sprintf("%s has %d lines: split it, at most %d can be read in one go", place, n, maxLines))
		}
		if mayBeProcessWide(p, name) {
			continue
		}
		for _, use := range processWideUses(file) {
			broken = append(broken, fmt.Sprintf("%s:%d uses %s: only consumer/main.go, functions and config may, because "+
				"everything else runs several times in one process", place, fset.Position(use.pos).Line, use.name))
		}
	}
	return broken, nil
}

type use struct {
	name string
	pos  token.Pos
}

func processWideUses(file *ast.File) []use {
	var uses []use
	imported := map[string]string{} // name in the file -> import path
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = path
		if path == "os/signal" {
			uses = append(uses, use{path, spec.Pos()})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && slices.Contains(processWide[imported[pkg.Name]], sel.Sel.Name) {
			uses = append(uses, use{imported[pkg.Name] + "." + sel.Sel.Name, sel.Pos()})
		}
		return true
	})
	return uses
}
