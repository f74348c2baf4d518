package layering

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ignored are directories that hold nothing of the repository.
var ignored = []string{".git", "bin", "dist", ".terraform", "node_modules"}

// Files returns the paths of the repository's files.
func Files(repo fs.FS) ([]string, error) {
	var files []string
	err := fs.WalkDir(repo, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(ignored, d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular():
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	return files, nil
}

// MachinePaths returns the places where a file names a directory of one particular machine.
func MachinePaths(repo fs.FS, files []string) ([]string, error) {
	// In two parts each, so that this file passes.
	forbidden := [][]byte{[]byte("/work" + "/"), []byte("/root" + "/")}
	var broken []string
	for _, name := range files {
		b, err := fs.ReadFile(repo, name)
		if err != nil {
			return nil, fmt.Errorf("read file: %w", err)
		}
		for _, word := range forbidden {
			if i := bytes.Index(b, word); i >= 0 {
				broken = append(broken, fmt.Sprintf("%s:%d names %s, a directory of one machine", name, 1+bytes.Count(b[:i], []byte("\n")), word))
			}
		}
	}
	return broken, nil
}

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	target     = regexp.MustCompile("(?m)(?:`|^\\s*\\$?\\s*)make ([a-z][a-z-]*)")
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

// BrokenDocs returns the relative links of Markdown files that lead nowhere, and the make targets that they name but
// the Makefile lacks.
func BrokenDocs(repo fs.FS, files []string) ([]string, error) {
	makefile, err := fs.ReadFile(repo, "Makefile")
	if err != nil {
		return nil, fmt.Errorf("read Makefile: %w", err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllSubmatch(makefile, -1) {
		targets = append(targets, string(m[1]))
	}
	var broken []string
	for _, name := range files {
		if path.Ext(name) != ".md" {
			continue
		}
		text, err := fs.ReadFile(repo, name)
		if err != nil {
			return nil, fmt.Errorf("read document: %w", err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			to, _, _ := strings.Cut(string(m[1]), "#")
			if to == "" || strings.Contains(to, ":") {
				continue
			}
			if _, err := fs.Stat(repo, path.Join(path.Dir(name), to)); err != nil {
				broken = append(broken, fmt.Sprintf("%s links to %s, which does not exist", name, to))
			}
		}
		for _, m := range target.FindAllSubmatch(text, -1) {
			if !slices.Contains(targets, string(m[1])) {
				broken = append(broken, fmt.Sprintf("%s names make %s, which is no target", name, m[1]))
			}
		}
	}
	return broken, nil
}
