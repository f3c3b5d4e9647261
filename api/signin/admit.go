package signin

import (
	"slices"
	"strings"
	"unicode"
)

const (
	maxSubjectBytes = 255 // OpenID Connect Core 1.0 section 2
	maxEmailBytes   = 254 // RFC 5321 section 4.5.3.1.3
	maxNameBytes    = 256
	maxGroups       = 1000
	maxGroupBytes   = 256
)

// admit decides whether the provider's configuration lets a person in, and what roles it gives him.
func (p *provider) admit(found *person) (Identity, error) {
	if found.subject == "" || !isPrintable(found.subject, maxSubjectBytes) {
		return Identity{}, refused(CauseClaims)
	}
	if len(p.AllowedDomains) > 0 {
		if found.email == "" {
			return Identity{}, refused(CauseEmail)
		}
		domain, ok := emailDomain(found.email)
		if !ok || !slices.Contains(p.AllowedDomains, domain) {
			return Identity{}, refused(CauseDomain)
		}
	}
	if len(p.GitHubOrganisations) > 0 && !slices.ContainsFunc(p.GitHubOrganisations, func(org string) bool {
		return slices.Contains(found.groups, org)
	}) {
		return Identity{}, refused(CauseOrganisation)
	}
	return Identity{
		Provider: p.Name, Tenant: p.Tenant, Issuer: p.Issuer, Subject: found.subject,
		Email: found.email, EmailVerified: found.email != "", Name: readable(found.name),
		Groups: found.groups, Roles: p.roles(found.groups),
	}, nil
}

// roles returns what the mapping gives to the members of the groups, sorted; the default roles when that is nothing.
func (p *provider) roles(groups []string) []string {
	var roles []string
	for _, g := range groups {
		roles = append(roles, p.RoleMapping[g]...)
	}
	if len(roles) == 0 {
		roles = slices.Clone(p.DefaultRoles)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// emailDomain returns the domain of an address, in lower case. It takes only plain addresses, "local@domain" in printable
// ASCII with one "@", so that two readers cannot see two domains in one address.
func emailDomain(email string) (string, bool) {
	local, domain, found := strings.Cut(email, "@")
	if !found || local == "" || !isPrintable(email, maxEmailBytes) || strings.ContainsAny(email, " \"(),:;<>[\\]") {
		return "", false
	}
	domain = lower(domain)
	return domain, domainForm.MatchString(domain)
}

// isPrintable reports whether s is printable ASCII of at most limit bytes.
func isPrintable(s string, limit int) bool {
	if len(s) > limit {
		return false
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// readable returns a name as people may see it: no control or format characters, valid UTF-8, at most maxNameBytes.
func readable(name string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(name, "") {
		if !unicode.IsGraphic(r) {
			continue
		}
		if b.Len()+len(string(r)) > maxNameBytes {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
