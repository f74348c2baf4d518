package layering

import (
	"os"
	"testing"
)

const root = "../.."

func TestRepositoryImports(t *testing.T) {
	t.Parallel()
	pkgs, err := List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	report(t, Imports(pkgs))
}

func TestRepositoryPackages(t *testing.T) {
	t.Parallel()
	pkgs, err := List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	report(t, Docs(pkgs))
	for _, p := range pkgs {
		broken, err := Sources(p)
		if err != nil {
			t.Errorf("%s: %v", p.ImportPath, err)
		}
		report(t, broken)
	}
}

func TestRepositoryNamesNoMachine(t *testing.T) {
	t.Parallel()
	repo := os.DirFS(root)
	files, err := Files(repo)
	if err != nil {
		t.Fatal(err)
	}
	broken, err := MachinePaths(repo, files)
	if err != nil {
		t.Fatal(err)
	}
	report(t, broken)
}

func TestDocsOfTheRepository(t *testing.T) {
	t.Parallel()
	repo := os.DirFS(root)
	files, err := Files(repo)
	if err != nil {
		t.Fatal(err)
	}
	broken, err := BrokenDocs(repo, files)
	if err != nil {
		t.Fatal(err)
	}
	report(t, broken)
}

func report(t *testing.T, broken []string) {
	t.Helper()
	for _, b := range broken {
		t.Error(b)
	}
}
