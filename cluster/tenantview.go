package cluster

import (
	"slices"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// TenantView is one tenant's part of a View: it finds nothing that belongs to another.
type TenantView struct {
	view *View
	id   string
}

// Record returns the tenant itself.
func (t *TenantView) Record() *directory.Tenant {
	return first[directory.Tenant](t.view.txn, tableTenants, indexID, t.id)
}

// Context returns a context by its name.
func (t *TenantView) Context(name string) *directory.Context {
	return first[directory.Context](t.view.txn, tableContexts, indexID, t.id, name)
}

// Contexts returns the tenant's contexts in order of name.
func (t *TenantView) Contexts() []*directory.Context {
	return all[directory.Context](t.view.txn, tableContexts, indexID+"_prefix", t.id)
}

// Version returns a key version by its id. A version of another tenant is not found.
func (t *TenantView) Version(keyID string) *keys.Version {
	v := first[keys.Version](t.view.txn, tableVersions, indexID, keyID)
	if v == nil || v.Tenant != t.id {
		return nil
	}
	return v
}

// User returns a user by id. A user of another tenant is not found.
func (t *TenantView) User(id string) *directory.User {
	u := first[directory.User](t.view.txn, tableUsers, indexID, id)
	if u == nil || u.Tenant != t.id {
		return nil
	}
	return u
}

// Users returns the tenant's users in order of name.
func (t *TenantView) Users() []*directory.User {
	return all[directory.User](t.view.txn, tableUsers, indexName+"_prefix", t.id)
}

// Applications returns the tenant's applications in order of id.
func (t *TenantView) Applications() []*directory.Application {
	return all[directory.Application](t.view.txn, tableApplications, indexTenant, t.id)
}

// Object returns a key object by its name.
func (t *TenantView) Object(name string) *keys.Object {
	return first[keys.Object](t.view.txn, tableObjects, indexID, t.id, name)
}

// Objects returns the tenant's key objects in order of name.
func (t *TenantView) Objects() []*keys.Object {
	return all[keys.Object](t.view.txn, tableObjects, indexID+"_prefix", t.id)
}

// ObjectVersions returns the versions of a key object, in no order.
func (t *TenantView) ObjectVersions(name string) []*keys.Version {
	return all[keys.Version](t.view.txn, tableVersions, indexObject, t.id, name)
}

// Import returns a pair that waits for a wrapped key.
func (t *TenantView) Import(id string) *keys.Import {
	return first[keys.Import](t.view.txn, tableImports, indexID, t.id, id)
}

// LegacyKey returns a key version of an imported deployment.
func (t *TenantView) LegacyKey(keyID string) *keys.LegacyKey {
	return first[keys.LegacyKey](t.view.txn, tableLegacy, indexID, t.id, keyID)
}

// LegacyMasters returns the master keys of the tenant's imported deployments.
func (t *TenantView) LegacyMasters() []*keys.LegacyMaster {
	if t.id == "" {
		return nil // the numbers of tenants that were deleted
	}
	return all[keys.LegacyMaster](t.view.txn, tableMasters, indexTenant, t.id)
}

// LegacyMaster returns a master key of an imported deployment by its number. One of another tenant is not found.
func (t *TenantView) LegacyMaster(number uint32) *keys.LegacyMaster {
	m := first[keys.LegacyMaster](t.view.txn, tableMasters, indexID, masterKey(number))
	if m == nil || m.Tenant != t.id || t.id == "" {
		return nil
	}
	return m
}

// Application returns an application by id. One of another tenant is not found.
func (t *TenantView) Application(id string) *directory.Application {
	return applicationOf(t.view.txn, t.id, id)
}

// ApplicationOf returns the application that a user made under a name in an environment.
func (t *TenantView) ApplicationOf(user, name, environment string) *directory.Application {
	return first[directory.Application](t.view.txn, tableApplications, indexOwner, user, t.id, name, environment)
}

// RefreshFamilies returns the families of refresh tokens of an application, in no order.
func (t *TenantView) RefreshFamilies(application string) []*directory.RefreshFamily {
	if t.Application(application) == nil {
		return nil
	}
	return all[directory.RefreshFamily](t.view.txn, tableRefresh, indexOwner, application)
}

// ContextVersions returns the versions of a context's own key, in no order.
func (t *TenantView) ContextVersions(name string) []*keys.Version {
	return slices.DeleteFunc(all[keys.Version](t.view.txn, tableVersions, indexContext, t.id, name),
		func(v *keys.Version) bool { return v.Object != "" })
}

// Versions returns all key versions of the tenant, those of key objects included.
func (t *TenantView) Versions() []*keys.Version {
	return all[keys.Version](t.view.txn, tableVersions, indexContext+"_prefix", t.id)
}

// Usage returns how much a key version was used, as far as the nodes have told; nil is not at all.
func (t *TenantView) Usage(keyID string) *keys.Usage {
	u := first[keys.Usage](t.view.txn, tableUsage, indexID, keyID)
	if u == nil || u.Tenant != t.id {
		return nil
	}
	return u
}

// UserNamed returns a user by name.
func (t *TenantView) UserNamed(name string) *directory.User {
	return first[directory.User](t.view.txn, tableUsers, indexName, t.id, name)
}

// UserIdentified returns the user whom an identity provider calls by a subject.
func (t *TenantView) UserIdentified(issuer, subject string) *directory.User {
	return first[directory.User](t.view.txn, tableUsers, indexIdentity, issuer, t.id, subject)
}

// Sessions returns the sessions of a user, in no order.
func (t *TenantView) Sessions(user string) []*directory.Session {
	if t.User(user) == nil {
		return nil
	}
	return all[directory.Session](t.view.txn, tableSessions, indexOwner, user)
}

// Invitations returns the tenant's invitations in order of id.
func (t *TenantView) Invitations() []*directory.Invitation {
	return all[directory.Invitation](t.view.txn, tableInvitations, indexID+"_prefix", t.id)
}

// Policy returns a policy by name.
func (t *TenantView) Policy(name string) *directory.Policy {
	return first[directory.Policy](t.view.txn, tablePolicies, indexID, t.id, name)
}

// Policies returns the tenant's policies in order of name.
func (t *TenantView) Policies() []*directory.Policy {
	return all[directory.Policy](t.view.txn, tablePolicies, indexID+"_prefix", t.id)
}

// Approval returns a request for approval by id.
func (t *TenantView) Approval(id string) *directory.Approval {
	return first[directory.Approval](t.view.txn, tableApprovals, indexID, t.id, id)
}

// Approvals returns the tenant's requests for approval in order of id.
func (t *TenantView) Approvals() []*directory.Approval {
	return all[directory.Approval](t.view.txn, tableApprovals, indexID+"_prefix", t.id)
}
