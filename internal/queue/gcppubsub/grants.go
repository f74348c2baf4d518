package gcppubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/queue"
)

// agentDomain is that of Pub/Sub's service agents, one for each project.
const agentDomain = "@gcp-sa-pubsub.iam.gserviceaccount.com"

// Agent names Pub/Sub's service agent where the project's number is not known.
const Agent = "service-PROJECT_NUMBER" + agentDomain

// Roles that Pub/Sub's service agent needs to forward, and those that include them.
const (
	rolePublisher  = "roles/pubsub.publisher"
	roleSubscriber = "roles/pubsub.subscriber"
)

var including = []string{"roles/pubsub.editor", "roles/pubsub.admin", "roles/editor", "roles/owner"}

// MissingGrants returns what Pub/Sub's service agent lacks on the subscription and on its dead-letter topic: grants on the
// project do not show there. What a role of the customer's own gives is not looked into; it counts as enough. It needs
// the permissions pubsub.subscriptions.getIamPolicy and pubsub.topics.getIamPolicy.
func (c *Client) MissingGrants(ctx context.Context, subscription, deadLetterTopic string) ([]queue.Grant, error) {
	topic := deadLetterTopic
	if !strings.Contains(topic, "/") {
		topic = c.topicName(topic)
	}
	var missing []queue.Grant
	for _, g := range []struct {
		on, resource, role string
		get                func(context.Context, *iampb.GetIamPolicyRequest) (*iampb.Policy, error)
	}{
		{"topic " + deadLetterTopic, topic, rolePublisher, c.topicPolicy},
		{"subscription " + subscription, c.subscriptionName(subscription), roleSubscriber, c.subscriptionPolicy},
	} {
		p, err := g.get(ctx, &iampb.GetIamPolicyRequest{
			Resource: g.resource, Options: &iampb.GetPolicyOptions{RequestedPolicyVersion: 3}, // with conditional bindings
		})
		switch {
		case status.Code(err) == codes.Unimplemented:
			return nil, fmt.Errorf("read grants: %w", errors.ErrUnsupported)
		case err != nil:
			return nil, classify(ctx, "read grants", err)
		case !granted(p, g.role):
			missing = append(missing, queue.Grant{Member: Agent, Role: g.role, On: g.on})
		}
	}
	return missing, nil
}

func (c *Client) topicPolicy(ctx context.Context, r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	return c.client.TopicAdminClient.GetIamPolicy(ctx, r)
}

func (c *Client) subscriptionPolicy(ctx context.Context, r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	return c.client.SubscriptionAdminClient.GetIamPolicy(ctx, r)
}

// granted reports whether a policy gives a role, or one that includes it, to a service agent of Pub/Sub.
func granted(p *iampb.Policy, role string) bool {
	return slices.ContainsFunc(p.GetBindings(), func(b *iampb.Binding) bool {
		own := !strings.HasPrefix(b.GetRole(), "roles/")
		return (own || b.GetRole() == role || slices.Contains(including, b.GetRole())) &&
			slices.ContainsFunc(b.GetMembers(), isAgent)
	})
}

func isAgent(member string) bool {
	return strings.HasPrefix(member, "serviceAccount:service-") && strings.HasSuffix(member, agentDomain)
}
