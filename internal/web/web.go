// Package web is what usher's HTTP handlers share: handlers that return errors, bounded bodies, JSON answers,
// request ids and handlers that are built on their first request.
package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
)

// Error is an HTTP answer as an error: Status, Code and Msg go to the client, Err to the log.
type Error struct {
	Status int
	Code   string // stable, snake_case; what programs act on
	Msg    string // static text for people; never a piece of the request
	Err    error  // the cause, free of payload; nil where the client alone is to blame
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return e.Code + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// ErrTooLarge is inside the error of [ReadBody] for a body over the limit.
var ErrTooLarge = errors.New("body over the limit")

// HandlerFunc answers a request, or returns an error for [Handle] to answer. After an error it has written
// nothing.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Handle makes an [http.Handler]: an [*Error] is answered as it says, any other error as 500. Errors of the
// server's own, 500 and up, are logged once.
func Handle(logger *slog.Logger, h HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		e := asError(err)
		if e.Status >= http.StatusInternalServerError {
			logger.ErrorContext(r.Context(), "request failed",
				"status", e.Status, "code", e.Code, "error", e.Err)
		}
		WriteError(w, e)
	})
}

// WriteError answers with err: an [*Error] as it says, any other as 500 without its text.
func WriteError(w http.ResponseWriter, err error) {
	e := asError(err)
	WriteJSON(w, e.Status, errorBody{Error: e.Msg, Code: e.Code})
}

// errorBody starts with the member that the vendors' own samples use.
type errorBody struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal", Msg: "Internal error", Err: err}
}

// WriteJSON answers with v as JSON. A client that has gone is not an error: nobody is left to hear of it.
// A value that cannot be encoded is answered as 500.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"Internal error","code":"internal"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// ReadBody reads a body of at most limit bytes. It returns an [*Error]: 413 holding [ErrTooLarge] for a longer
// one, 400 for one that breaks off.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body := http.MaxBytesReader(w, r.Body, limit)
	b, err := readAll(body, min(r.ContentLength, limit))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Msg: "Payload too large", Err: ErrTooLarge}
	case err != nil:
		return nil, &Error{Status: http.StatusBadRequest, Code: "bad_request", Msg: "Body could not be read", Err: err}
	}
	return b, nil
}

// maxPrealloc bounds what is allocated on the word of a Content-Length header alone.
const maxPrealloc = 64 << 10

// readAll is [io.ReadAll] with a first buffer of the announced length, which saves growing it.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	// One byte more lets the read that meets the end happen without growing.
	b := make([]byte, 0, max(512, min(announced+1, maxPrealloc)))
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}
