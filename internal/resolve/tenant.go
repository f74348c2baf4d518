package resolve

import (
	"context"
	"fmt"
	"slices"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/source"
)

// tenant finds the tenant of a record: the one that is named around the payload or in it, which must agree;
// where neither names one, the routes decide. The endpoint must be allowed to speak for it.
func (r *Resolver) tenant(ctx context.Context, ep *Endpoint, named string, rec *source.Record) (visitor.TenantID, error) {
	t, err := claimed(named, rec.Tenant)
	if err != nil {
		return "", err
	}
	if t == "" {
		if t, err = r.routed(ctx, rec.Routes); err != nil {
			return "", err
		}
	}
	if t.Validate() != nil {
		return "", &Error{Reason: envelope.ReasonForbiddenID, Outcome: source.BadRequest, Detail: "tenant id"}
	}
	if len(ep.Tenants) > 0 && !slices.Contains(ep.Tenants, t) {
		return "", &Error{
			Reason: envelope.ReasonTenantForbidden, Outcome: source.BadRequest,
			Detail: "not a tenant of this endpoint", TenantID: t,
		}
	}
	return t, nil
}

// claimed is the one tenant that the claims agree on, "" where there is none.
func claimed(claims ...string) (visitor.TenantID, error) {
	var t string
	for _, c := range claims {
		switch {
		case c == "" || c == t:
		case t == "":
			t = c
		default:
			return "", mismatch("named tenants differ")
		}
	}
	return visitor.TenantID(t), nil
}

// routed is the tenant that the routes lead to. Within one kind the first route that belongs to somebody
// decides, because a more specific host may belong to another tenant; the kinds must agree.
func (r *Resolver) routed(ctx context.Context, routes []source.Route) (visitor.TenantID, error) {
	if len(routes) == 0 {
		return "", &Error{Reason: envelope.ReasonUnusable, Outcome: source.MissingTenant, Detail: "no tenant and no route"}
	}
	var (
		tenant  visitor.TenantID
		decided []source.RouteKind
	)
	for _, rt := range routes {
		if r.finder == nil || slices.Contains(decided, rt.Kind) {
			continue
		}
		t, ok, err := r.finder.ByRoute(ctx, rt)
		if err != nil {
			return "", fmt.Errorf("find tenant: %w", err)
		}
		if !ok {
			continue
		}
		if tenant != "" && t != tenant {
			return "", mismatch("routes lead to different tenants")
		}
		tenant, decided = t, append(decided, rt.Kind)
	}
	if tenant == "" {
		return "", &Error{Reason: envelope.ReasonUnknownTenant, Outcome: source.MissingTenant, Detail: "no tenant for its routes"}
	}
	return tenant, nil
}

func mismatch(detail string) *Error {
	return &Error{Reason: envelope.ReasonTenantMismatch, Outcome: source.BadRequest, Detail: detail}
}
