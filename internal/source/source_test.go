package source_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/source"
)

type named string

func (n named) Info() source.Info                   { return source.Info{Name: string(n)} }
func (named) Parse([]byte) ([]source.Record, error) { return nil, nil }
func (named) Reply(source.Result) (r source.Reply)  { return r }

func TestRegistry(t *testing.T) {
	t.Parallel()
	r, err := source.NewRegistry(named("b"), named("a"))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := r.Lookup("a"); err != nil || a != named("a") {
		t.Errorf("Lookup(a) = %v, %v", a, err)
	}
	if _, err := r.Lookup("c"); !errors.Is(err, source.ErrUnknown) {
		t.Errorf("Lookup(c): %v, want ErrUnknown", err)
	}
	infos := r.Infos()
	if diff := cmp.Diff([]source.Info{{Name: "a"}, {Name: "b"}}, infos); diff != "" {
		t.Errorf("Infos (-want +got):\n%s", diff)
	}
	infos[0].Name = "changed"
	if r.Infos()[0].Name != "a" {
		t.Error("Infos shares its memory")
	}
}

func TestRegistryRefuses(t *testing.T) {
	t.Parallel()
	if _, err := source.NewRegistry(named("a"), named("a")); err == nil {
		t.Error("two adapters of one name: no error")
	}
	if _, err := source.NewRegistry(named("")); err == nil {
		t.Error("adapter without name: no error")
	}
}

// Every outcome has an answer, and only what usher keeps is a success.
func TestDefaultReply(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[source.Outcome]int{
		source.Accepted:           http.StatusOK,
		source.AcceptedTest:       http.StatusOK,
		source.Parked:             http.StatusOK,
		source.NoEndpoint:         http.StatusNotFound,
		source.BadMethod:          http.StatusMethodNotAllowed,
		source.Unauthenticated:    http.StatusUnauthorized,
		source.TooLarge:           http.StatusRequestEntityTooLarge,
		source.BadRequest:         http.StatusBadRequest,
		source.UnsupportedVersion: http.StatusBadRequest,
		source.MissingTenant:      http.StatusBadRequest,
		source.Failed:             http.StatusServiceUnavailable,
		"unheard of":              http.StatusServiceUnavailable,
	} {
		got := source.DefaultReply(source.Result{Outcome: outcome})
		if got.Status != want {
			t.Errorf("%s: status %d, want %d", outcome, got.Status, want)
		}
		if _, ok := got.Body.(source.Success); ok != (want == http.StatusOK) {
			t.Errorf("%s: body %T", outcome, got.Body)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	err := &source.Error{Outcome: source.UnsupportedVersion, Detail: "version"}
	if got, want := err.Error(), "unsupported_version: version"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
}
