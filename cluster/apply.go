package cluster

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// apply changes the state in txn as the command says and returns the outcome. It is a pure function of state and command:
// it reads no clock, no randomness, no configuration and no map in its own order, so every node that applies the same
// entries has the same state. A refused command has changed nothing, except where the command says so: every rule is
// checked before the first write.
//
// Details of a refusal name no record: they go to the caller as they are. What takes effect once comes through applyEntry.
func apply(txn *memdb.Txn, c command.Command) command.Outcome {
	if c.Type() == command.TypeTick {
		return done // also before there is a cluster
	}
	if _, ok := c.(command.CreateCluster); !ok && first[directory.Cluster](txn, tableCluster, indexID, "") == nil {
		return refused(fault.Conflict, "there is no cluster yet")
	}
	if g, ok := c.(command.Guarded); ok {
		return guarded(txn, g)
	}
	if act, tenant := actOf(c); act != "" {
		if first[directory.Tenant](txn, tableTenants, indexID, tenant).Of().Approvers(act) > 0 {
			return refused(fault.Forbidden, "the act needs approval")
		}
	}
	return execute(txn, c)
}

// applyEntry applies the command of the log entry at index.
func applyEntry(txn *memdb.Txn, index uint64, c command.Command) command.Outcome {
	if once, ok := c.(command.Once); ok {
		return applyOnce(txn, index, once)
	}
	return apply(txn, c)
}

// execute applies a command that needs no approval, or has it.
func execute(txn *memdb.Txn, c command.Command) command.Outcome {
	switch c := c.(type) {
	case command.CreateCluster:
		return createCluster(txn, c)
	case command.CreateTenant:
		return createTenant(txn, c)
	case command.CreateContext:
		return createContext(txn, c)
	case command.RotateContext:
		return rotateContext(txn, c)
	case command.CreateApplication:
		return createApplication(txn, c)
	case command.CreateUser:
		return createUser(txn, c)
	case command.CreateSession:
		return createSession(txn, c)
	case command.CreateRefresh:
		return createRefresh(txn, c)
	case command.RotateRefresh:
		return rotateRefresh(txn, c)
	case command.LeaseUsage:
		return leaseUsage(txn, c)
	case command.CreateKey:
		return createKey(txn, c)
	case command.RotateKey:
		return rotateKey(txn, c)
	case command.SetKeyDisabled:
		return setKeyDisabled(txn, c)
	case command.CreateImport:
		return createImport(txn, c)
	case command.ImportLegacy:
		return importLegacy(txn, c)
	case command.SetTenantStatus:
		return setTenantStatus(txn, c)
	case command.ScheduleTenantDeletion:
		return scheduleTenantDeletion(txn, c)
	case command.DeleteTenant:
		return deleteTenant(txn, c)
	case command.ChangeSettings:
		return changeSettings(txn, c)
	case command.ChangeApplication:
		return changeApplication(txn, c)
	case command.SetApplicationStatus:
		return setApplicationStatus(txn, c)
	case command.SetApplicationKey:
		return setApplicationKey(txn, c)
	case command.RevokeApplicationTokens:
		return revokeApplicationTokens(txn, c)
	case command.DeleteApplication:
		return deleteApplication(txn, c)
	case command.RevokeRefresh:
		return revokeRefresh(txn, c)
	case command.SetUserRoles:
		return setUserRoles(txn, c)
	case command.SetUserStatus:
		return setUserStatus(txn, c)
	case command.DeleteUser:
		return deleteUser(txn, c)
	case command.SetPassword:
		return setPassword(txn, c)
	case command.TouchSession:
		return touchSession(txn, c)
	case command.EndSession:
		return endSession(txn, c)
	case command.EndSessions:
		return endSessions(txn, c)
	case command.CreateInvitation:
		return createInvitation(txn, c)
	case command.DropInvitation:
		return dropInvitation(txn, c)
	case command.AcceptInvitation:
		return acceptInvitation(txn, c)
	case command.CreateDevice:
		return createDevice(txn, c)
	case command.DecideDevice:
		return decideDevice(txn, c)
	case command.RedeemDevice:
		return redeemDevice(txn, c)
	case command.PutPolicy:
		return putPolicy(txn, c)
	case command.DeletePolicy:
		return deletePolicy(txn, c)
	case command.ChangeContext:
		return changeContext(txn, c)
	case command.SetContextStatus:
		return setContextStatus(txn, c)
	case command.DeleteContext:
		return deleteContext(txn, c)
	case command.SetVersionState:
		return setVersionState(txn, c)
	case command.ScheduleDestruction:
		return scheduleDestruction(txn, c)
	case command.DestroyVersion:
		return destroyVersion(txn, c)
	case command.SetMinimumVersion:
		return setMinimumVersion(txn, c)
	case command.MergeUsage:
		return mergeUsage(txn, c)
	case command.SetKeyRotation:
		return setKeyRotation(txn, c)
	case command.RequestApproval:
		return requestApproval(txn, c)
	case command.DecideApproval:
		return decideApproval(txn, c)
	case command.CancelApproval:
		return cancelApproval(txn, c)
	case command.Tick:
		return done // it is about leases and places in the log, not about records
	case command.AddMember:
		return addMember(txn, c)
	case command.UpdateMember:
		return updateMember(txn, c)
	case command.RemoveMember:
		return removeMember(txn, c)
	case command.FinaliseVersion:
		return finaliseVersion(txn, c)
	case command.ResetMembers:
		return resetMembers(txn, c)
	case command.SetBackupSchedule:
		return setBackupSchedule(txn, c)
	case command.RecordBackup:
		return recordBackup(txn, c)
	case command.CreateJoinInvitation:
		return createJoinInvitation(txn, c)
	case command.DropJoinInvitation:
		return dropJoinInvitation(txn, c)
	case command.RequestJoin:
		return requestJoin(txn, c)
	case command.DecideJoin:
		return decideJoin(txn, c)
	case command.CompleteJoin:
		return completeJoin(txn, c)
	default:
		// Decode makes no other, and a test applies one of each type.
		panic(fmt.Sprintf("cluster: no rule applies %T", c))
	}
}

func refused(kind fault.Kind, detail string) command.Outcome {
	return command.Outcome{Refused: kind, Detail: detail}
}

var done command.Outcome

// validKey reports whether a string can be a key of the state: not empty, and free of the byte that ends a key part.
func validKey(s string) bool { return s != "" && !strings.ContainsRune(s, 0) }

func validStatus(s directory.Status) bool { return s == directory.Enabled || s == directory.Disabled }

func createCluster(txn *memdb.Txn, c command.CreateCluster) command.Outcome {
	switch {
	case first[directory.Cluster](txn, tableCluster, indexID, "") != nil:
		return refused(fault.Conflict, "the cluster exists already")
	case !validKey(c.Cluster.ID):
		return refused(fault.Malformed, "the cluster has no valid id")
	}
	put(txn, tableCluster, &c.Cluster)
	return done
}

func createTenant(txn *memdb.Txn, c command.CreateTenant) command.Outcome {
	t := c.Tenant
	switch {
	case !validKey(t.ID) || !validKey(t.Name):
		return refused(fault.Malformed, "the tenant has no valid id or name")
	case !validStatus(t.Status):
		return refused(fault.Malformed, "the tenant has an unknown status")
	case t.DeleteAt != 0 || t.Settings != nil && t.Settings.Validate() != nil:
		return refused(fault.Malformed, "the tenant begins with its deletion, or with settings that are not valid")
	case first[directory.Tenant](txn, tableTenants, indexID, t.ID) != nil:
		return refused(fault.Conflict, "a tenant with this id exists already")
	case first[directory.Tenant](txn, tableTenants, indexName, t.Name) != nil:
		return refused(fault.Conflict, "a tenant with this name exists already")
	}
	put(txn, tableTenants, &t)
	return done
}

func createContext(txn *memdb.Txn, c command.CreateContext) command.Outcome {
	ctx, v := c.Context, c.Version
	if err := ctx.Validate(); err != nil {
		return refused(fault.Malformed, "the context is not valid")
	}
	if out := checkNewVersion(txn, &ctx, &v, 1); out.Refused != 0 {
		return out
	}
	switch {
	case ctx.ActiveKey != v.ID || ctx.Versions != 1 || ctx.MinimumVersion > 1:
		return refused(fault.Malformed, "the context does not name its first key version, or closes it")
	case first[directory.Tenant](txn, tableTenants, indexID, ctx.Tenant) == nil:
		return refused(fault.NotFound, "the tenant does not exist")
	case first[directory.Context](txn, tableContexts, indexID, ctx.Tenant, ctx.Name) != nil:
		return refused(fault.Conflict, "a context with this name exists already")
	}
	put(txn, tableContexts, &ctx)
	put(txn, tableVersions, &v)
	return done
}

// checkNewVersion holds what is true of a version that becomes the active one of a context.
func checkNewVersion(txn *memdb.Txn, ctx *directory.Context, v *keys.Version, number uint32) command.Outcome {
	if out := checkFresh(txn, v, ctx.Tenant, ctx.Name, "", ctx.Algorithm, number); out.Refused != 0 {
		return out
	}
	switch {
	case v.Imported:
		return refused(fault.Malformed, "the key version of a context is never imported")
	case v.Derived() && (len(v.Salt) == 0) != (ctx.Derivation == directory.Deterministic):
		return refused(fault.Malformed, "the salt of the key version does not fit the derivation of its context")
	}
	return done
}

// checkFresh holds what is true of every version that becomes the active one: of a key object, or with no object's name of a
// context's own key.
func checkFresh(
	txn *memdb.Txn, v *keys.Version, tenant, context, object string, algorithm algs.Name, number uint32,
) command.Outcome {
	if err := v.Validate(); err != nil {
		return refused(fault.Malformed, "the key version is not valid")
	}
	switch {
	case v.Tenant != tenant || v.Context != context || v.Object != object || !strings.HasPrefix(v.ID, "key_"+context+"_"):
		return refused(fault.Malformed, "the key version belongs to something else")
	case !validKey(v.Tenant):
		return refused(fault.Malformed, "the tenant has no valid id")
	case v.Number != number:
		return refused(fault.Conflict, "the key version does not have the next number")
	case v.State != keys.Active || v.DeactivatedAt != 0 || v.Leased != 0 || v.DestroyAt != 0 || v.DestroyedAt != 0:
		return refused(fault.Malformed, "the key version is not active and unused")
	case v.Algorithm != algorithm:
		return refused(fault.Malformed, "the key version has another algorithm than what it is of")
	case first[keys.Version](txn, tableVersions, indexID, v.ID) != nil:
		return refused(fault.Conflict, "a key version with this id exists already")
	}
	return done
}

func rotateContext(txn *memdb.Txn, c command.RotateContext) command.Outcome {
	v := c.Version
	ctx := first[directory.Context](txn, tableContexts, indexID, v.Tenant, v.Context)
	if ctx == nil {
		return refused(fault.NotFound, "the context does not exist")
	}
	if out := checkNewVersion(txn, ctx, &v, ctx.Versions+1); out.Refused != 0 {
		return out
	}
	deactivate(txn, ctx.ActiveKey, v.CreatedAt)
	next := *ctx
	next.ActiveKey, next.Versions = v.ID, v.Number
	put(txn, tableContexts, &next)
	put(txn, tableVersions, &v)
	return done
}

// deactivate ends the protection by a version that another one replaces. One in any other state keeps it: it protects nothing,
// the rotation that replaces it must not be refused, and one that is suspended must not process again by being replaced.
func deactivate(txn *memdb.Txn, keyID string, at int64) {
	before := first[keys.Version](txn, tableVersions, indexID, keyID)
	if before == nil || before.State != keys.Active {
		return
	}
	old := *before
	old.State, old.DeactivatedAt = keys.Deactivated, at
	put(txn, tableVersions, &old)
}

func createApplication(txn *memdb.Txn, c command.CreateApplication) command.Outcome {
	a := c.Application
	switch {
	case !validKey(a.ID) || !validKey(a.Name):
		return refused(fault.Malformed, "the application has no valid id or name")
	case !validStatus(a.Status):
		return refused(fault.Malformed, "the application has an unknown status")
	case !validKey(a.Tenant) || first[directory.Tenant](txn, tableTenants, indexID, a.Tenant) == nil:
		return refused(fault.NotFound, "the tenant does not exist")
	case first[directory.Application](txn, tableApplications, indexID, a.ID) != nil:
		return refused(fault.Conflict, "an application with this id exists already")
	case a.CreatedBy != "" && (!validKey(a.CreatedBy) || a.Environment != "" && !validKey(a.Environment)):
		return refused(fault.Malformed, "the application has no valid maker or environment")
	case a.CreatedBy != "" && first[directory.Application](txn, tableApplications, indexOwner, a.CreatedBy, a.Tenant, a.Name, a.Environment) != nil:
		return refused(fault.Conflict, "the user has an application with this name in this environment already")
	case len(a.PublicKey) != 0 && len(a.PublicKey) != 32, len(a.Certificate) != 0 && len(a.Certificate) != 32:
		return refused(fault.Malformed, "the application's key or certificate is not valid")
	case takenCertificate(txn, a.Certificate, a.ID):
		return refused(fault.Conflict, "another application has this certificate's key")
	}
	if out := checkGrants(txn, a.Tenant, a.Grants); out.Refused != 0 {
		return out
	}
	put(txn, tableApplications, &a)
	return done
}

func createUser(txn *memdb.Txn, c command.CreateUser) command.Outcome { return addUser(txn, &c.User) }

func addUser(txn *memdb.Txn, u *directory.User) command.Outcome {
	switch {
	case !validKey(u.ID) || !validKey(u.Name):
		return refused(fault.Malformed, "the user has no valid id or name")
	case len(u.Name) > directory.UserNameMax || len(u.Email) > directory.EmailMax:
		return refused(fault.Malformed, "the user's name or address is too long")
	case !validStatus(u.Status):
		return refused(fault.Malformed, "the user has an unknown status")
	case !directory.ValidRoles(u.Roles):
		return refused(fault.Malformed, "the user's roles are not valid")
	case !validKey(u.Tenant) || first[directory.Tenant](txn, tableTenants, indexID, u.Tenant) == nil:
		return refused(fault.NotFound, "the tenant does not exist")
	case first[directory.User](txn, tableUsers, indexID, u.ID) != nil:
		return refused(fault.Conflict, "a user with this id exists already")
	case first[directory.User](txn, tableUsers, indexName, u.Tenant, u.Name) != nil:
		return refused(fault.Conflict, "a user with this name exists already")
	case (u.Issuer == "") != (u.Subject == "") || u.Issuer != "" && (!validKey(u.Issuer) || !validKey(u.Subject)):
		return refused(fault.Malformed, "the user has no valid name at an identity provider")
	case u.Issuer != "" && u.Password != "":
		return refused(fault.Malformed, "the user signs in at an identity provider and has a password")
	case u.Issuer != "" && first[directory.User](txn, tableUsers, indexIdentity, u.Issuer, u.Tenant, u.Subject) != nil:
		return refused(fault.Conflict, "a user with this name at the identity provider exists already")
	}
	put(txn, tableUsers, u)
	return done
}

func createSession(txn *memdb.Txn, c command.CreateSession) command.Outcome {
	s := c.Session
	user := first[directory.User](txn, tableUsers, indexID, s.User)
	switch {
	case user == nil || user.Tenant != s.Tenant:
		return refused(fault.NotFound, "the user does not exist")
	case !maySignIn(txn, user):
		// Whoever proposed it looked before the user was disabled: the session would live again when he is enabled.
		return disabledUser
	case s.Hash == [32]byte{}:
		// It stands for none where commands say which session to keep.
		return refused(fault.Malformed, "the session has no hash")
	case s.ExpiresAt <= s.CreatedAt:
		return refused(fault.Malformed, "the session ends before it begins")
	case first[directory.Session](txn, tableSessions, indexID, string(s.Hash[:])) != nil:
		return refused(fault.Conflict, "the session exists already")
	}
	for _, old := range all[directory.Session](txn, tableSessions, indexOwner, s.User) {
		if old.ExpiresAt < s.CreatedAt {
			drop(txn, tableSessions, old)
		}
	}
	put(txn, tableSessions, &s)
	return done
}

func createRefresh(txn *memdb.Txn, c command.CreateRefresh) command.Outcome {
	f := c.Family
	app := first[directory.Application](txn, tableApplications, indexID, f.Application)
	switch {
	case !validKey(f.ID):
		return refused(fault.Malformed, "the family of refresh tokens has no valid id")
	case f.Generation != 0 || f.Revoked:
		return refused(fault.Malformed, "the family of refresh tokens is not new")
	case f.ExpiresAt <= f.CreatedAt:
		return refused(fault.Malformed, "the refresh token ends before it begins")
	case app == nil || app.Tenant != f.Tenant:
		return refused(fault.NotFound, "the application does not exist")
	case first[directory.RefreshFamily](txn, tableRefresh, indexID, f.ID) != nil:
		return refused(fault.Conflict, "the family of refresh tokens exists already")
	}
	for _, old := range all[directory.RefreshFamily](txn, tableRefresh, indexOwner, f.Application) {
		if old.ExpiresAt < f.CreatedAt {
			drop(txn, tableRefresh, old)
		}
	}
	put(txn, tableRefresh, &f)
	return done
}

func rotateRefresh(txn *memdb.Txn, c command.RotateRefresh) command.Outcome {
	before := first[directory.RefreshFamily](txn, tableRefresh, indexID, c.Family)
	switch {
	case before == nil:
		return unauthenticated("refresh-unknown", "the refresh token is not known")
	case before.Revoked:
		return unauthenticated("refresh-revoked", "the refresh token was revoked")
	case before.ExpiresAt < c.At:
		return unauthenticated("expired", "the refresh token has expired")
	}
	app := first[directory.Application](txn, tableApplications, indexID, before.Application)
	tenant := first[directory.Tenant](txn, tableTenants, indexID, before.Tenant)
	if app == nil || app.Status != directory.Enabled || tenant == nil || tenant.Status != directory.Enabled {
		return unauthenticated("application", "the application or its tenant is disabled")
	}
	next := *before
	if before.Hash != c.Presented {
		next.Revoked = true
		put(txn, tableRefresh, &next)
		return unauthenticated("refresh-reuse", "the refresh token was used before: all tokens that came from it are revoked")
	}
	if c.Next == c.Presented || c.ExpiresAt <= c.At {
		return refused(fault.Malformed, "the next refresh token is not new, or ends before it begins")
	}
	next.Hash, next.ExpiresAt = c.Next, c.ExpiresAt
	next.Generation++
	put(txn, tableRefresh, &next)
	return done
}

func unauthenticated(cause fault.Cause, detail string) command.Outcome {
	return command.Outcome{Refused: fault.Unauthenticated, Cause: cause, Detail: detail}
}

func leaseUsage(txn *memdb.Txn, c command.LeaseUsage) command.Outcome {
	before := first[keys.Version](txn, tableVersions, indexID, c.Key)
	if before == nil {
		return refused(fault.NotFound, "the key version does not exist")
	}
	if !before.Allows(keys.Protect, false) {
		return command.Outcome{Total: before.Leased}
	}
	next := *before
	granted := min(c.Count, keys.GCMRandomNonceLimit-before.Leased)
	next.Leased += granted
	put(txn, tableVersions, &next)
	return command.Outcome{Granted: granted, Total: next.Leased}
}
