package cluster

import (
	"slices"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

var (
	noTenant  = refused(fault.NotFound, "the tenant does not exist")
	noSession = unauthenticated("session", "the session has ended, or the user's rights have changed")
)

// guarded applies a command of a user whose record and session are as they were when the act was authorised.
func guarded(txn *memdb.Txn, g command.Guarded) command.Outcome {
	tenant := first[directory.Tenant](txn, tableTenants, indexID, g.Tenant)
	user := first[directory.User](txn, tableUsers, indexID, g.User)
	session := first[directory.Session](txn, tableSessions, indexID, string(g.Session[:]))
	switch {
	case tenant == nil || tenant.Status != directory.Enabled,
		user == nil || user.Tenant != g.Tenant || user.Status != directory.Enabled || user.Revision != g.Revision,
		session == nil || session.User != g.User || session.Tenant != g.Tenant || session.ExpiresAt <= g.At:
		return noSession
	}
	inside, err := g.Inner()
	if err != nil {
		return refused(fault.Malformed, "the guarded command is not valid") // Decode has read it: this does not happen
	}
	if name := inNameOf(inside); name != "" && name != g.User {
		return refused(fault.Forbidden, "nobody decides in the name of another")
	}
	return apply(txn, inside)
}

// inNameOf returns the user whose own word a command is; empty for what users do to records.
func inNameOf(c command.Command) string {
	switch c := c.(type) {
	case command.RequestApproval:
		return c.Approval.Requester
	case command.DecideApproval:
		return c.Decision.User
	case command.CancelApproval:
		return c.User
	case command.DecideDevice:
		return c.User
	default:
		return ""
	}
}

func setTenantStatus(txn *memdb.Txn, c command.SetTenantStatus) command.Outcome {
	t := first[directory.Tenant](txn, tableTenants, indexID, c.Tenant)
	switch {
	case t == nil:
		return noTenant
	case !validStatus(c.Status):
		return refused(fault.Malformed, "the tenant's status is unknown")
	case t.DeleteAt != 0 && c.Status == directory.Enabled:
		return refused(fault.Conflict, "the tenant waits for its deletion: cancel that first")
	}
	next := *t
	next.Status = c.Status
	put(txn, tableTenants, &next)
	return done
}

func scheduleTenantDeletion(txn *memdb.Txn, c command.ScheduleTenantDeletion) command.Outcome {
	t := first[directory.Tenant](txn, tableTenants, indexID, c.Tenant)
	switch {
	case t == nil:
		return noTenant
	case c.Cancel == (t.DeleteAt == 0):
		return refused(fault.Conflict, "the tenant's deletion is already as asked")
	case !validWait(c.At, c.Wait):
		return refused(fault.Malformed, "the deletion has no valid time")
	}
	next := *t
	next.Status, next.DeleteAt = directory.Disabled, 0
	if !c.Cancel {
		next.DeleteAt = c.At + c.Wait
	}
	put(txn, tableTenants, &next)
	return done
}

// deleteTenant removes everything of a tenant. Of an imported master key the number stays taken: a token object has it in its
// label.
func deleteTenant(txn *memdb.Txn, c command.DeleteTenant) command.Outcome {
	t := first[directory.Tenant](txn, tableTenants, indexID, c.Tenant)
	switch {
	case t == nil:
		return noTenant
	case t.DeleteAt == 0 || c.At < t.DeleteAt:
		return refused(fault.Conflict, "the tenant is not due to be deleted")
	}
	for _, v := range all[keys.Version](txn, tableVersions, indexContext+"_prefix", c.Tenant) {
		dropUsage(txn, v.ID)
		drop(txn, tableVersions, v)
	}
	for _, a := range all[directory.Application](txn, tableApplications, indexTenant, c.Tenant) {
		dropApplication(txn, a)
	}
	for _, u := range all[directory.User](txn, tableUsers, indexName+"_prefix", c.Tenant) {
		dropUser(txn, u)
	}
	for _, m := range all[keys.LegacyMaster](txn, tableMasters, indexTenant, c.Tenant) {
		number := *m
		number.Tenant, number.Wrapped = "", nil
		put(txn, tableMasters, &number)
	}
	dropDevices(txn, func(d *directory.Device) bool { return d.Tenant == c.Tenant })
	for _, table := range []string{tableContexts, tableObjects, tableImports, tableLegacy, tableInvitations, tablePolicies, tableApprovals} {
		if _, err := txn.DeleteAll(table, indexID+"_prefix", c.Tenant); err != nil {
			panic("cluster: delete all of " + table + ": " + err.Error()) // the schema is fixed
		}
	}
	drop(txn, tableTenants, t)
	return done
}

func changeSettings(txn *memdb.Txn, c command.ChangeSettings) command.Outcome {
	t := first[directory.Tenant](txn, tableTenants, indexID, c.Tenant)
	switch {
	case t == nil:
		return noTenant
	case c.Settings.Validate() != nil:
		return refused(fault.Malformed, "the settings are not valid")
	case c.Settings.Revision != t.Of().Revision+1:
		return refused(fault.Conflict, "the settings were changed in between: read them again")
	}
	next := *t
	next.Settings = &c.Settings
	put(txn, tableTenants, &next)
	return done
}

// What applications do not share with other records.

var noApplication = refused(fault.NotFound, "the application does not exist")

func applicationOf(txn *memdb.Txn, tenant, id string) *directory.Application {
	a := first[directory.Application](txn, tableApplications, indexID, id)
	if a == nil || a.Tenant != tenant {
		return nil
	}
	return a
}

// checkGrants refuses grants of contexts that do not exist, or that are granted twice.
func checkGrants(txn *memdb.Txn, tenant string, grants []directory.Grant) command.Outcome {
	for i, g := range grants {
		if !validKey(g.Context) || first[directory.Context](txn, tableContexts, indexID, tenant, g.Context) == nil {
			return refused(fault.NotFound, "a granted context does not exist")
		}
		if slices.ContainsFunc(grants[:i], func(b directory.Grant) bool { return b.Context == g.Context }) {
			return refused(fault.Malformed, "a context is granted twice")
		}
		if g.Budget != nil && g.Budget.Validate() != nil {
			return refused(fault.Malformed, "the budget of a grant is not valid")
		}
	}
	return done
}

func changeApplication(txn *memdb.Txn, c command.ChangeApplication) command.Outcome {
	a := applicationOf(txn, c.Tenant, c.Application)
	if a == nil {
		return noApplication
	}
	if !sameGrants(a.Grants, c.Before) {
		return refused(fault.Conflict, "the application's grants were changed in between: read them again")
	}
	if out := checkGrants(txn, c.Tenant, c.Grants); out.Refused != 0 {
		return out
	}
	next := *a
	next.Team, next.Description, next.Grants = c.Team, c.Description, c.Grants
	put(txn, tableApplications, &next)
	return done
}

func sameGrants(a, b []directory.Grant) bool {
	return slices.EqualFunc(a, b, func(x, y directory.Grant) bool {
		p, q := x.Budget, y.Budget
		x.Budget, y.Budget = nil, nil
		return x == y && (p == nil) == (q == nil) && (p == nil || *p == *q)
	})
}

func setApplicationStatus(txn *memdb.Txn, c command.SetApplicationStatus) command.Outcome {
	a := applicationOf(txn, c.Tenant, c.Application)
	switch {
	case a == nil:
		return noApplication
	case !validStatus(c.Status):
		return refused(fault.Malformed, "the application's status is unknown")
	}
	next := *a
	next.Status = c.Status
	put(txn, tableApplications, &next)
	return done
}

func setApplicationKey(txn *memdb.Txn, c command.SetApplicationKey) command.Outcome {
	a := applicationOf(txn, c.Tenant, c.Application)
	switch {
	case a == nil:
		return noApplication
	case !validKey(c.KeyID) || c.KeyID == a.KeyID:
		return refused(fault.Malformed, "the application's key has no new id")
	case len(c.PublicKey) != 0 && len(c.PublicKey) != 32, len(c.Certificate) != 0 && len(c.Certificate) != 32:
		return refused(fault.Malformed, "the application's key or certificate is not valid")
	case len(c.PublicKey) == 0 && len(c.Certificate) == 0:
		return refused(fault.Malformed, "the application would have neither a key nor a certificate")
	case takenCertificate(txn, c.Certificate, a.ID):
		return refused(fault.Conflict, "another application has this certificate's key")
	}
	next := *a
	next.KeyID, next.PublicKey, next.SealedKey, next.Certificate = c.KeyID, c.PublicKey, c.SealedKey, c.Certificate
	put(txn, tableApplications, &next)
	revokeFamilies(txn, a.ID)
	return done
}

func takenCertificate(txn *memdb.Txn, certificate []byte, id string) bool {
	if len(certificate) == 0 {
		return false
	}
	other := first[directory.Application](txn, tableApplications, indexCertificate, string(certificate))
	return other != nil && other.ID != id
}

func revokeApplicationTokens(txn *memdb.Txn, c command.RevokeApplicationTokens) command.Outcome {
	a := applicationOf(txn, c.Tenant, c.Application)
	switch {
	case a == nil:
		return noApplication
	case c.NotBefore <= 0:
		return refused(fault.Malformed, "the revocation has no valid time")
	}
	next := *a
	next.NotBefore = max(a.NotBefore, c.NotBefore)
	put(txn, tableApplications, &next)
	revokeFamilies(txn, a.ID)
	return done
}

func revokeFamilies(txn *memdb.Txn, application string) {
	for _, f := range all[directory.RefreshFamily](txn, tableRefresh, indexOwner, application) {
		drop(txn, tableRefresh, f)
	}
}

func deleteApplication(txn *memdb.Txn, c command.DeleteApplication) command.Outcome {
	a := applicationOf(txn, c.Tenant, c.Application)
	if a == nil {
		return noApplication
	}
	dropApplication(txn, a)
	return done
}

func dropApplication(txn *memdb.Txn, a *directory.Application) {
	revokeFamilies(txn, a.ID)
	drop(txn, tableApplications, a)
}

func revokeRefresh(txn *memdb.Txn, c command.RevokeRefresh) command.Outcome {
	f := first[directory.RefreshFamily](txn, tableRefresh, indexID, c.Family)
	if f == nil || f.Tenant != c.Tenant {
		return done
	}
	next := *f
	next.Revoked = true
	put(txn, tableRefresh, &next)
	return done
}
