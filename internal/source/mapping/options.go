package mapping

import (
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
)

// TenantOption is the pixel option that names the tenant.
const TenantOption = "tenant_id"

// Options maps the options that a site gave to the vendor's pixel. What usher has no field for goes to
// ExtraOptions, the tenant excepted; a known option of an odd type goes there too.
func Options(a *visitor.Attribution, options *jsontree.Value) {
	members := options.Members()
	for i := range members {
		name, v := members[i].Name, &members[i].Value
		if name == TenantOption || v.Kind() == jsontree.Null {
			continue
		}
		if name == "custom_attributes" && v.Kind() == jsontree.Object {
			a.CustomAttributes, _ = v.Any().(map[string]any)
			continue
		}
		field := optionField(a, name)
		if text := Clean(v.Text()); field != nil && text != "" {
			*field = text
			continue
		}
		if field != nil && v.Kind() == jsontree.String {
			continue // an empty option says nothing
		}
		if a.ExtraOptions == nil {
			a.ExtraOptions = map[string]any{}
		}
		a.ExtraOptions[name] = v.Any()
	}
}

// optionField returns the field of a pixel option, nil without one.
func optionField(a *visitor.Attribution, name string) *string {
	switch name {
	case "page_id":
		return &a.PageID
	case "page_type":
		return &a.PageType
	case "campaign":
		return &a.Campaign
	case "campaign_id":
		return &a.CampaignID
	case "campaign_name":
		return &a.CampaignName
	case "source":
		return &a.PixelSource
	case "timestamp":
		return &a.PixelTime
	case "pixel_version":
		return &a.PixelVersion
	case "user_segment":
		return &a.UserSegment
	case "client_name":
		return &a.ClientName
	case "integration_type":
		return &a.IntegrationType
	}
	return nil
}

// TenantClaim returns the first named member as the tenant that the payload names: text or a number as sent.
func TenantClaim(v *jsontree.Value, name string) string {
	if m := v.Get(name); m.Kind() == jsontree.String || m.Kind() == jsontree.Number {
		return m.Text()
	}
	return ""
}
