package web

import "net/http"

// Recorder is a ResponseWriter that remembers the status it passed on.
type Recorder struct {
	http.ResponseWriter
	status int
}

// NewRecorder records what is answered through w.
func NewRecorder(w http.ResponseWriter) *Recorder { return &Recorder{ResponseWriter: w} }

// Status is the answer's status, 0 as long as there is none.
func (r *Recorder) Status() int { return r.status }

// WriteHeader passes the status on and remembers the first final one.
func (r *Recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write passes the bytes on; without WriteHeader before, it means 200.
func (r *Recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the underlying writer.
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
