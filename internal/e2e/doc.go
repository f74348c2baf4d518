// Package e2e holds the end-to-end tests: real HTTP in, messages, daemon, documents, on the memory twins and on
// Google's emulators.
package e2e
