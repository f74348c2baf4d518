package queue_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

func attributes(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[strconv.Itoa(i)] = ""
	}
	return m
}

func TestCheckMessage(t *testing.T) {
	t.Parallel()
	one := func(k, v string) map[string]string { return map[string]string{k: v} }
	tests := []struct {
		name string
		m    queue.Message
		want code.Code
	}{
		{"data", queue.Message{Data: []byte("x")}, code.OK},
		{"attributes only", queue.Message{Attributes: one("k", "")}, code.OK},
		{"empty", queue.Message{}, code.Invalid},
		{"most attributes", queue.Message{Attributes: attributes(queue.MaxAttributes)}, code.OK},
		{"too many attributes", queue.Message{Attributes: attributes(queue.MaxAttributes + 1)}, code.Invalid},
		{"empty key", queue.Message{Attributes: one("", "v")}, code.Invalid},
		{"longest key", queue.Message{Attributes: one(strings.Repeat("k", queue.MaxAttributeKey), "v")}, code.OK},
		{"key too long", queue.Message{Attributes: one(strings.Repeat("k", queue.MaxAttributeKey+1), "v")}, code.Invalid},
		{"longest value", queue.Message{Attributes: one("k", strings.Repeat("v", queue.MaxAttributeValue))}, code.OK},
		{"value too long", queue.Message{Attributes: one("k", strings.Repeat("v", queue.MaxAttributeValue+1))}, code.Invalid},
		{"key not UTF-8", queue.Message{Attributes: one("\xff", "v")}, code.Invalid},
		{"value not UTF-8", queue.Message{Attributes: one("k", "\xff")}, code.Invalid},
		{"largest", queue.Message{Data: make([]byte, queue.MaxMessage)}, code.OK},
		{"too large", queue.Message{Data: make([]byte, queue.MaxMessage+1)}, code.TooLarge},
		{"attributes count", queue.Message{Data: make([]byte, queue.MaxMessage), Attributes: one("k", "v")}, code.TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := queue.CheckMessage(&tt.m); code.Of(err) != tt.want {
				t.Errorf("CheckMessage: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCheckTopology(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*queue.SubscriptionSpec)
		want   code.Code
	}{
		{"plain", func(*queue.SubscriptionSpec) {}, code.OK},
		{"every setting", func(s *queue.SubscriptionSpec) {
			s.AckDeadline, s.MinBackoff, s.MaxBackoff = 10*time.Second, 10*time.Second, 600*time.Second
			s.DeadLetterTopic, s.MaxAttempts, s.Retention = "dead", 100, 10*time.Minute
		}, code.OK},
		{"longest retention", func(s *queue.SubscriptionSpec) { s.Retention = 31 * 24 * time.Hour }, code.OK},
		{"retention too short", func(s *queue.SubscriptionSpec) { s.Retention = 10*time.Minute - 1 }, code.Invalid},
		{"retention too long", func(s *queue.SubscriptionSpec) { s.Retention = 31*24*time.Hour + 1 }, code.Invalid},
		{"no name", func(s *queue.SubscriptionSpec) { s.Name = "" }, code.Invalid},
		{"short name", func(s *queue.SubscriptionSpec) { s.Name = "ab" }, code.Invalid},
		{"long name", func(s *queue.SubscriptionSpec) { s.Name = strings.Repeat("a", 256) }, code.Invalid},
		{"reserved name", func(s *queue.SubscriptionSpec) { s.Name = "google" }, code.Invalid},
		{"slash in topic", func(s *queue.SubscriptionSpec) { s.Topic = "a/b/c" }, code.Invalid},
		{"ack deadline too short", func(s *queue.SubscriptionSpec) { s.AckDeadline = time.Second }, code.Invalid},
		{"ack deadline too long", func(s *queue.SubscriptionSpec) { s.AckDeadline = 601 * time.Second }, code.Invalid},
		{"negative backoff", func(s *queue.SubscriptionSpec) { s.MinBackoff = -1 }, code.Invalid},
		{"backoff too long", func(s *queue.SubscriptionSpec) { s.MaxBackoff = 601 * time.Second }, code.Invalid},
		{"backoff bounds crossed", func(s *queue.SubscriptionSpec) { s.MinBackoff = time.Second }, code.Invalid},
		{"attempts alone", func(s *queue.SubscriptionSpec) { s.MaxAttempts = 5 }, code.Invalid},
		{"bad dead-letter topic", func(s *queue.SubscriptionSpec) { s.DeadLetterTopic, s.MaxAttempts = "?", 5 }, code.Invalid},
		{"too few attempts", func(s *queue.SubscriptionSpec) { s.DeadLetterTopic, s.MaxAttempts = "dead", 4 }, code.Invalid},
		{"too many attempts", func(s *queue.SubscriptionSpec) { s.DeadLetterTopic, s.MaxAttempts = "dead", 101 }, code.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := queue.SubscriptionSpec{Name: "sub", Topic: "top"}
			tt.change(&s)
			err := queue.CheckTopology(queue.Topology{Subscriptions: []queue.SubscriptionSpec{s}})
			if code.Of(err) != tt.want {
				t.Errorf("CheckTopology: %v, want %v", err, tt.want)
			}
		})
	}
	if err := queue.CheckTopology(queue.Topology{Topics: []string{"ok-1", "1st"}}); code.Of(err) != code.Invalid {
		t.Errorf("bad topic: %v, want %v", err, code.Invalid)
	}
}

func TestFlowControlDefaults(t *testing.T) {
	t.Parallel()
	defaults := queue.FlowControl{
		MaxMessages: 1000, MaxBytes: 64 << 20, Streams: 1,
		Lease: 10 * time.Second, MaxHold: time.Hour, Shutdown: 10 * time.Second,
	}
	tests := []struct {
		name     string
		in, want queue.FlowControl
	}{
		{"zero", queue.FlowControl{}, defaults},
		{"set stays", queue.FlowControl{1, 2, 1, time.Minute, 3, 4}, queue.FlowControl{1, 2, 1, time.Minute, 3, 4}},
		{
			"within the service's bounds",
			queue.FlowControl{2, 2, 8, time.Hour, 3, 4},
			queue.FlowControl{2, 2, 2, queue.MaxAckDeadline, 3, 4},
		},
		{
			"lease too short",
			queue.FlowControl{2, 2, 1, time.Second, 3, 4},
			queue.FlowControl{2, 2, 1, queue.MinAckDeadline, 3, 4},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tt.want, tt.in.WithDefaults()); d != "" {
				t.Error(d)
			}
		})
	}
}
