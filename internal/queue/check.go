package queue

import (
	"unicode/utf8"

	"github.com/usherhq/usher/internal/code"
)

// CheckMessage reports, before any RPC, whether a message can be published at all: code.Invalid or
// code.TooLarge. Both drivers call it.
func CheckMessage(m *Message) error {
	if len(m.Data) == 0 && len(m.Attributes) == 0 {
		return code.New(code.Invalid, "publish: empty message", nil)
	}
	if len(m.Attributes) > MaxAttributes {
		return code.New(code.Invalid, "publish: too many attributes", nil)
	}
	n := len(m.Data)
	for k, v := range m.Attributes {
		if k == "" || len(k) > MaxAttributeKey || len(v) > MaxAttributeValue ||
			!utf8.ValidString(k) || !utf8.ValidString(v) {
			return code.New(code.Invalid, "publish: attribute out of limits", nil)
		}
		n += len(k) + len(v)
	}
	if n > MaxMessage {
		return code.New(code.TooLarge, "publish: message over the limit", nil)
	}
	return nil
}
