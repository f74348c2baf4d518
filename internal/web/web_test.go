package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/usherhq/usher/internal/web"
)

// logger returns a logger and what it wrote.
func logger() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

func get(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

func TestHandle(t *testing.T) {
	t.Parallel()
	cause := errors.New("database is down")
	for _, tc := range []struct {
		name   string
		err    error
		status int
		body   string
		log    string
	}{
		{"success", nil, 200, "", ""},
		{"client's fault", &web.Error{Status: 404, Code: "not_found", Msg: "Not found"}, 404, `{"error":"Not found","code":"not_found"}`, ""},
		{"own fault", &web.Error{Status: 503, Code: "unavailable", Msg: "Try again", Err: cause}, 503,
			`{"error":"Try again","code":"unavailable"}`, `status=503 code=unavailable error="database is down"`},
		{"any error", cause, 500, `{"error":"Internal error","code":"internal"}`, `status=500 code=internal error="database is down"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			log, lines := logger()
			w := get(web.Handle(log, func(http.ResponseWriter, *http.Request) error { return tc.err }))
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("answer %d %s", w.Code, w.Body)
			}
			if got := lines.String(); (tc.log == "") != (got == "") || !strings.Contains(got, tc.log) {
				t.Errorf("log %q, want %q", got, tc.log)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	e := &web.Error{Code: "internal", Err: cause}
	if e.Error() != "internal: cause" || !errors.Is(e, cause) || (&web.Error{Code: "gone"}).Error() != "gone" {
		t.Errorf("text %q", e.Error())
	}
}

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	web.WriteJSON(w, 201, map[string]int{"n": 1})
	if w.Code != 201 || w.Body.String() != `{"n":1}` || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("answer %d %s %v", w.Code, w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	web.WriteJSON(w, 200, make(chan int))
	if w.Code != 500 {
		t.Errorf("a value that cannot be encoded: %d", w.Code)
	}
}

func TestReadBody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200<<10)
	for _, tc := range []struct {
		name   string
		body   io.Reader
		limit  int64
		want   string
		status int
	}{
		{"empty", strings.NewReader(""), 4, "", 0},
		{"none", nil, 4, "", 0},
		{"at the limit", strings.NewReader("1234"), 4, "1234", 0},
		{"over the limit", strings.NewReader("12345"), 4, "", 413},
		{"over the limit, unannounced", io.MultiReader(strings.NewReader("12345")), 4, "", 413},
		{"long", strings.NewReader(long), 1 << 20, long, 0},
		{"long, unannounced", io.MultiReader(strings.NewReader(long)), 1 << 20, long, 0},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("1234")), 4, "1234", 0},
		{"broken off", iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("1234"))), 4, "", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", tc.body)
			if tc.body == nil {
				r.Body = nil
			}
			got, err := web.ReadBody(httptest.NewRecorder(), r, tc.limit)
			var e *web.Error
			if errors.As(err, &e) != (tc.status != 0) || (e != nil && e.Status != tc.status) {
				t.Fatalf("error = %v", err)
			}
			if errors.Is(err, web.ErrTooLarge) != (tc.status == 413) || string(got) != tc.want {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		write func(w http.ResponseWriter)
		want  int
	}{
		{"nothing", func(http.ResponseWriter) {}, 0},
		{"body alone", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, 200},
		{"status", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, 404},
		{"early hints", func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints); w.WriteHeader(http.StatusNoContent) }, 204},
		{"first counts", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest); _, _ = io.WriteString(w, "x") }, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			inner := httptest.NewRecorder()
			w := web.NewRecorder(inner)
			tc.write(w)
			if w.Status() != tc.want || w.Unwrap() != inner {
				t.Errorf("status = %d, want %d", w.Status(), tc.want)
			}
		})
	}
}

func TestExecutionID(t *testing.T) {
	t.Parallel()
	for header, kept := range map[string]bool{
		"": false, "abc-DEF_123": true, "a b": false, "ada@example.com": false, strings.Repeat("a", 65): false,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Function-Execution-Id", header)
		id := web.ExecutionID(r)
		if kept != (id == header) || (!kept && (len(id) != 26 || id == web.ExecutionID(r))) {
			t.Errorf("header %q gives %q", header, id)
		}
	}
}

func TestLazy(t *testing.T) {
	t.Parallel()
	log, lines := logger()
	var builds int
	h := web.Handle(log, web.Lazy(func(context.Context) (http.Handler, error) {
		switch builds++; builds {
		case 1:
			return nil, errors.New("no project")
		case 2:
			return nil, nil
		}
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), nil
	}))
	var got []int
	for range 4 {
		got = append(got, get(h).Code)
	}
	if want := []int{503, 503, 204, 204}; !slices.Equal(got, want) || builds != 3 {
		t.Errorf("answers %v after %d builds, want %v", got, builds, want)
	}
	if !strings.Contains(lines.String(), "no project") {
		t.Errorf("log lacks the error: %s", lines)
	}
}

// TestLazyBuildsOnce has many first requests at once share one build, which the request that started it
// cannot cancel.
func TestLazyBuildsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var builds, served atomic.Int32
		release := make(chan struct{})
		h := web.Lazy(func(ctx context.Context) (http.Handler, error) {
			builds.Add(1)
			<-release
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }), ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := h(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all are in the one build
		cancel()
		close(release)
		wg.Wait()
		if builds.Load() != 1 || served.Load() != 20 {
			t.Errorf("%d builds, %d served", builds.Load(), served.Load())
		}
	})
}
