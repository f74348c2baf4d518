package web

import (
	"net/http"

	"github.com/oklog/ulid/v2"
)

// executionHeader is how Cloud Functions names an execution.
const executionHeader = "Function-Execution-Id"

// maxExecutionID bounds the header, which anybody may send and which is logged and stored.
const maxExecutionID = 64

// ExecutionID names this execution of a handler: the platform's id, else a new ULID.
func ExecutionID(r *http.Request) string {
	if id := r.Header.Get(executionHeader); plainID(id) {
		return id
	}
	return ulid.Make().String()
}

// plainID reports whether id is short and made of letters, digits, '-' and '_' only.
func plainID(id string) bool {
	if id == "" || len(id) > maxExecutionID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
