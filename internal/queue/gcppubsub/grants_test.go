package gcppubsub_test

import (
	"context"
	"errors"
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/gcppubsub"
)

// policies answers for IAM, by the last part of the resource's name.
type policies struct {
	iampb.UnimplementedIAMPolicyServer
	of  map[string]*iampb.Policy
	err error
}

func (p *policies) GetIamPolicy(_ context.Context, r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	if p.err != nil {
		return nil, p.err
	}
	if r.GetOptions().GetRequestedPolicyVersion() != 3 {
		return nil, status.Error(codes.InvalidArgument, "conditional bindings would be missing")
	}
	found, ok := p.of[r.GetResource()]
	if !ok {
		return nil, status.Error(codes.NotFound, r.GetResource())
	}
	return found, nil
}

// guarded is a client of a fake with access policies.
func guarded(t *testing.T, p *policies) *gcppubsub.Client {
	t.Helper()
	srv := pstest.NewServerWithCallback(0, func(s *grpc.Server) { iampb.RegisterIAMPolicyServer(s, p) })
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("close fake: %v", err)
		}
	})
	return open(t, gcppubsub.Options{EmulatorHost: srv.Addr})
}

const agent = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"

func binding(role string, members ...string) *iampb.Policy {
	return &iampb.Policy{Bindings: []*iampb.Binding{
		{Role: "roles/pubsub.viewer", Members: []string{"user:ada@example.com", agent}}, // enough for nothing
		{Role: role, Members: members},
	}}
}

func TestMissingGrants(t *testing.T) {
	t.Parallel()
	publisher := queue.Grant{Member: gcppubsub.Agent, Role: "roles/pubsub.publisher", On: "topic dead"}
	subscriber := queue.Grant{Member: gcppubsub.Agent, Role: "roles/pubsub.subscriber", On: "subscription sub"}
	tests := []struct {
		name       string
		topic, sub *iampb.Policy
		want       []queue.Grant
	}{
		{"granted", binding(publisher.Role, agent), binding(subscriber.Role, agent), nil},
		{"by wider roles", binding("roles/editor", agent), binding("roles/pubsub.admin", agent), nil},
		{"by a role of the customer's own", binding("projects/p/roles/forwarder", agent), binding("organizations/1/roles/f", agent), nil},
		{"nothing", &iampb.Policy{}, &iampb.Policy{}, []queue.Grant{publisher, subscriber}},
		{"the other way round", binding(subscriber.Role, agent), binding(publisher.Role, agent), []queue.Grant{publisher, subscriber}},
		{
			"to others", binding(publisher.Role, "serviceAccount:usher-daemon@demo.iam.gserviceaccount.com"),
			binding(subscriber.Role, agent, "user:ada@example.com"), []queue.Grant{publisher},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := guarded(t, &policies{of: map[string]*iampb.Policy{
				"projects/" + project + "/topics/dead":       tt.topic,
				"projects/elsewhere/topics/dead":             tt.topic,
				"projects/" + project + "/subscriptions/sub": tt.sub,
			}})
			got, err := c.MissingGrants(t.Context(), "sub", "dead")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if other, err := c.MissingGrants(t.Context(), "sub", "projects/elsewhere/topics/dead"); err != nil || len(other) != len(got) {
				t.Errorf("with a topic of another project: %v, %v", other, err)
			}
		})
	}
}

func TestMissingGrants_errors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		grpc codes.Code
		want code.Code
	}{{codes.PermissionDenied, code.Denied}, {codes.NotFound, code.NotFound}, {codes.Unavailable, code.Unavailable}} {
		c := guarded(t, &policies{err: status.Error(tt.grpc, "no")})
		if got, err := c.MissingGrants(t.Context(), "sub", "dead"); code.Of(err) != tt.want || got != nil {
			t.Errorf("%v: %v, %v, want %v", tt.grpc, got, err, tt.want)
		}
	}
	// As the emulator: there are no permissions.
	c := guarded(t, &policies{err: status.Error(codes.Unimplemented, "")})
	if _, err := c.MissingGrants(t.Context(), "sub", "dead"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("unimplemented: %v, want %v", err, errors.ErrUnsupported)
	}
}
