package layering

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func pkg(path string, imports ...string) Package {
	p := Package{ImportPath: module + "/" + path, Name: filepath.Base(path)}
	for _, i := range imports {
		p.Imports = append(p.Imports, strings.Replace(i, "~", module+"/", 1))
	}
	return p
}

func TestImports(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		pkg  Package
		want string // part of the one violation; none when empty
	}{
		{name: "mechanism to leaf", pkg: pkg("internal/queue", "~internal/tenant", "context", "example.com/library")},
		{name: "feature to a listed feature", pkg: pkg("internal/ingest", "~internal/resolve")},
		{name: "parts of a feature", pkg: pkg("internal/source/rb2b", "~internal/source", "~internal/source/mapping")},
		{name: "any feature", pkg: pkg("internal/admin", "~internal/usage", "~internal/source/rb2b")},
		{name: "app to a driver and config", pkg: pkg("internal/app", "~internal/queue/gcppubsub", "~config", "cloud.google.com/go/pubsub/v2")},
		{name: "consumer to app", pkg: pkg("consumer", "~internal/app", "~internal/usage", "~consumer/visitor")},
		{name: "processor to visitor", pkg: pkg("consumer/processor", "~consumer/visitor", "time")},
		{name: "suite to test libraries", pkg: pkg("internal/queue/queuetest", "testing", "github.com/google/go-cmp/cmp", "~internal/testkit")},
		{name: "command to anything", pkg: pkg("internal/queue/cmd/look", "~internal/queue/gcppubsub", "google.golang.org/grpc")},

		{name: "no layer", pkg: pkg("internal/novel", "context"), want: `internal/novel has no layer: add it to the map "layers" in internal/layering/rules.go`},
		{name: "to functions", pkg: pkg("internal/app", "~functions"), want: "functions and consumer are imported by nothing"},
		{name: "consumer to functions", pkg: pkg("consumer", "~functions"), want: "functions and consumer are imported by nothing"},
		{name: "test helper", pkg: pkg("internal/queue", "~internal/testkit"), want: "test helpers are imported only by tests"},
		{name: "suite", pkg: pkg("internal/app", "~internal/store/storetest"), want: "test helpers are imported only by tests"},
		{name: "test library", pkg: pkg("internal/batch", "github.com/google/go-cmp/cmp"), want: "test helpers are imported only by tests"},
		{name: "testing", pkg: pkg("internal/batch", "testing"), want: "test helpers are imported only by tests"},
		{name: "mechanism to feature", pkg: pkg("internal/queue", "~internal/usage"), want: "imports go downwards"},
		{name: "feature to driver", pkg: pkg("internal/usage", "~internal/store/memstore"), want: "imports go downwards"},
		{name: "feature to app", pkg: pkg("internal/usage", "~internal/app"), want: "imports go downwards"},
		{name: "consumer to driver", pkg: pkg("consumer", "~internal/store/memstore"), want: "imports go downwards"},
		{name: "feature to unlisted feature", pkg: pkg("internal/usage", "~internal/profile"), want: "features import only the features listed"},
		{name: "functions to feature", pkg: pkg("functions", "~internal/ingest"), want: "functions imports only config and app"},
		{name: "public to library", pkg: pkg("consumer/visitor", "example.com/library"), want: "the public packages import the standard library only"},
		{name: "visitor to processor", pkg: pkg("consumer/visitor", "~consumer/processor"), want: "the public packages import the standard library only"},
		{name: "leaf to library", pkg: pkg("internal/redact", "example.com/library"), want: "leaves import the standard library"},
		{name: "leaf to tenant", pkg: pkg("internal/redact", "~internal/tenant"), want: "leaves import the standard library"},
		{name: "config to tenant", pkg: pkg("config", "~internal/tenant"), want: "config imports the standard library, viper"},
		{name: "config to library", pkg: pkg("config", "example.com/library"), want: "config imports the standard library, viper"},
		{name: "cloud SDK", pkg: pkg("internal/dispatch", "google.golang.org/grpc/status"), want: "cloud SDKs only in"},
		{name: "cloud SDK in a twin", pkg: pkg("internal/store/memstore", "cloud.google.com/go/firestore/apiv1"), want: "cloud SDKs only in"},
		{name: "functions-framework", pkg: pkg("internal/ingest", functionsFramework+"/functions"), want: "functions-framework only in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantOne(t, Imports([]Package{tt.pkg}), tt.want)
		})
	}
}

func wantOne(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("got %q; want nothing", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("got %q; want one with %q", got, want)
	}
}

// Two rules say more about one import: the general direction and the particular one.
func TestImportsOfConfig(t *testing.T) {
	t.Parallel()
	got := Imports([]Package{pkg("internal/ingest", "~config")})
	if len(got) != 2 || !strings.Contains(got[0]+got[1], "under internal only app imports config") {
		t.Errorf("got %q; want the rule on config and the general one", got)
	}
}

func TestImportsOfTests(t *testing.T) {
	t.Parallel()
	p := pkg("internal/app")
	p.TestImports = []string{"testing", module + "/internal/testkit", module + "/internal/store/memstore"}
	p.XTestImports = []string{module + "/functions", p.ImportPath}
	wantOne(t, Imports([]Package{p}), "internal/app imports functions")

	own := pkg("functions")
	own.XTestImports = []string{own.ImportPath}
	wantOne(t, Imports([]Package{own}), "")
}

func TestDocs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, pkg, doc, want string
		noFiles              bool
	}{
		{name: "package", pkg: "batch", doc: "Package batch groups items."},
		{name: "command", pkg: "main", doc: "Command usher runs the daemon."},
		{name: "only tests", pkg: "batch", noFiles: true},
		{name: "none", pkg: "batch", want: `must start with "Package batch "`},
		{name: "another name", pkg: "batch", doc: "Package batches groups items.", want: `must start with "Package batch "`},
		{name: "no sentence", pkg: "batch", doc: "Package batch groups items", want: "must end with a full stop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := Package{ImportPath: module + "/internal/batch", Name: tt.pkg, Doc: tt.doc, GoFiles: []string{"a.go"}}
			if tt.noFiles {
				p.GoFiles = nil
			}
			wantOne(t, Docs([]Package{p}), tt.want)
		})
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	const getenv = "package p\n\nimport \"os\"\n\nvar x = os.Getenv(\"X\")\n"
	long := "package p\n" + strings.Repeat("//\n", maxLines)
	tests := []struct {
		name, path, file, src, want string
	}{
		{name: "plain", path: "internal/batch", src: "package p\n\nimport \"os\"\n\nvar x = os.Args\n"},
		{name: "getenv", path: "internal/batch", src: getenv, want: "internal/batch/a.go:5 uses os.Getenv"},
		{name: "renamed import", path: "internal/batch", src: "package p\n\nimport system \"os\"\n\nfunc f() { system.Exit(1) }\n", want: "uses os.Exit"},
		{name: "method of the same name", path: "internal/batch", src: "package p\n\nvar os struct{ Exit func(int) }\n\nfunc f() { os.Exit(1) }\n"},
		{name: "log.Fatal", path: "internal/batch", src: "package p\n\nimport \"log\"\n\nfunc f() { log.Fatal() }\n", want: "uses log.Fatal"},
		{name: "signal", path: "internal/batch", src: "package p\n\nimport _ \"os/signal\"\n", want: "a.go:3 uses os/signal"},
		{name: "main.go", path: "consumer", file: "main.go", src: getenv},
		{name: "beside main.go", path: "consumer", src: getenv, want: "uses os.Getenv"},
		{name: "functions", path: "functions", src: getenv},
		{name: "config", path: "config", src: getenv},
		{name: "command", path: "internal/queue/cmd/look", src: getenv},
		{name: "testkit", path: "internal/testkit", src: getenv},
		{name: "too long", path: "internal/batch", src: long, want: "a.go has 601 lines"},
		{name: "long but generated", path: "internal/batch", src: "// Code generated by x. DO NOT EDIT.\n\n" + long},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.file == "" {
				tt.file = "a.go"
			}
			p := pkg(tt.path)
			p.Dir, p.GoFiles = t.TempDir(), []string{tt.file}
			if err := os.WriteFile(filepath.Join(p.Dir, tt.file), []byte(tt.src), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Sources(p)
			if err != nil {
				t.Fatal(err)
			}
			wantOne(t, got, tt.want)
		})
	}
}

func TestSourcesErrors(t *testing.T) {
	t.Parallel()
	p := pkg("internal/batch")
	p.Dir, p.GoFiles = t.TempDir(), []string{"a.go"}
	if _, err := Sources(p); err == nil || !strings.Contains(err.Error(), "read source") {
		t.Errorf("missing file: error = %v", err)
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "a.go"), []byte("packet p"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Sources(p); err == nil || !strings.Contains(err.Error(), "parse source") {
		t.Errorf("not Go: error = %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := List(t.Context(), dir); err == nil {
		t.Error("no module: no error")
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/m\n\ngo 1.26\n")
	if _, err := List(t.Context(), dir); err == nil {
		t.Error("no packages: no error")
	}
	write("m.go", "// Package m is one. It is small.\npackage m\n\nimport _ \"context\"\n")
	got, err := List(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{{
		ImportPath: "example.com/m", Dir: got[0].Dir, Name: "m", Doc: "Package m is one.",
		GoFiles: []string{"m.go"}, Imports: []string{"context"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

// files is a repository in memory.
func files(t *testing.T, texts map[string]string) (fs.FS, []string) {
	t.Helper()
	repo := fstest.MapFS{}
	for name, text := range texts {
		repo[name] = &fstest.MapFile{Data: []byte(text)}
	}
	names, err := Files(repo)
	if err != nil {
		t.Fatal(err)
	}
	return repo, names
}

func TestMachinePaths(t *testing.T) {
	t.Parallel()
	repo, names := files(t, map[string]string{
		"a.go":        "one\ntwo /wo" + "rk/x\n",
		"docs/b.md":   "/network/ and /roots/",
		".ci/run":     "cd /ro" + "ot/usher",
		".git/config": "/ro" + "ot/",
		"bin/usher":   "/ro" + "ot/",
	})
	got, err := MachinePaths(repo, names)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".ci/run:1 names /ro" + "ot/, a directory of one machine",
		"a.go:2 names /wo" + "rk/, a directory of one machine",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("MachinePaths (-want +got):\n%s", diff)
	}
	if _, err := MachinePaths(repo, []string{"gone"}); err == nil {
		t.Error("missing file: no error")
	}
}

func TestBrokenDocs(t *testing.T) {
	t.Parallel()
	repo, names := files(t, map[string]string{
		"Makefile":  "build: ## Build\nrun-all: build\n",
		"README.md": "[a](docs/a.md#x) [b](docs/gone.md) [c](#here) [d](https://example.com/x) `make build` and make sense\n\n    make run-all\n    $ make nothing\n",
		"docs/a.md": "[up](../README.md) [wrong](README.md) `make gone X=1`",
		"a.txt":     "[x](nowhere)",
	})
	got, err := BrokenDocs(repo, names)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"README.md links to docs/gone.md, which does not exist",
		"README.md names make nothing, which is no target",
		"docs/a.md links to README.md, which does not exist",
		"docs/a.md names make gone, which is no target",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("BrokenDocs (-want +got):\n%s", diff)
	}
	if _, err := BrokenDocs(fstest.MapFS{}, nil); err == nil {
		t.Error("no Makefile: no error")
	}
}

func TestFilesError(t *testing.T) {
	t.Parallel()
	if _, err := Files(os.DirFS(filepath.Join(t.TempDir(), "gone"))); err == nil {
		t.Error("missing directory: no error")
	}
}
