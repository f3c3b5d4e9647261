package cluster

import (
	"fmt"
	"slices"
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
// Details of a refusal name no record: they go to the caller as they are.
func apply(txn *memdb.Txn, c command.Command) command.Outcome {
	if _, ok := c.(command.CreateCluster); !ok && first[directory.Cluster](txn, tableCluster, indexID, "") == nil {
		return refused(fault.Conflict, "there is no cluster yet")
	}
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
	default:
		// Decode makes no other, and a test applies one of each type.
		panic(fmt.Sprintf("cluster: no rule applies %T", c))
	}
}

// changesRights reports whether a command of this type may have changed a right, a context or a key version's state, so
// that what was decided before it must be decided again. New credentials and counters take nothing away from anyone.
func changesRights(t command.Type) bool {
	switch t {
	case command.TypeLeaseUsage, command.TypeCreateRefresh, command.TypeRotateRefresh, command.TypeCreateSession,
		command.TypeCreateImport:
		return false
	default:
		return true
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
	case ctx.ActiveKey != v.ID || ctx.Versions != 1:
		return refused(fault.Malformed, "the context does not name its first key version")
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
	case v.State != keys.Active || v.DeactivatedAt != 0 || v.Leased != 0:
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

// deactivate ends the protection by a version that another one replaces. A version that may not be deactivated any more
// (compromised, destroyed) keeps its state: it protects nothing, and the rotation that replaces it must not be refused.
func deactivate(txn *memdb.Txn, keyID string, at int64) {
	before := first[keys.Version](txn, tableVersions, indexID, keyID)
	if before == nil || !before.State.MayBecome(keys.Deactivated) {
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
	}
	for i, g := range a.Grants {
		if !validKey(g.Context) || first[directory.Context](txn, tableContexts, indexID, a.Tenant, g.Context) == nil {
			return refused(fault.NotFound, "a granted context does not exist")
		}
		if slices.ContainsFunc(a.Grants[:i], func(b directory.Grant) bool { return b.Context == g.Context }) {
			return refused(fault.Malformed, "a context is granted twice")
		}
	}
	put(txn, tableApplications, &a)
	return done
}

func createUser(txn *memdb.Txn, c command.CreateUser) command.Outcome {
	u := c.User
	switch {
	case !validKey(u.ID) || !validKey(u.Name):
		return refused(fault.Malformed, "the user has no valid id or name")
	case !validStatus(u.Status):
		return refused(fault.Malformed, "the user has an unknown status")
	case !validKey(u.Tenant) || first[directory.Tenant](txn, tableTenants, indexID, u.Tenant) == nil:
		return refused(fault.NotFound, "the tenant does not exist")
	case first[directory.User](txn, tableUsers, indexID, u.ID) != nil:
		return refused(fault.Conflict, "a user with this id exists already")
	case first[directory.User](txn, tableUsers, indexName, u.Tenant, u.Name) != nil:
		return refused(fault.Conflict, "a user with this name exists already")
	}
	put(txn, tableUsers, &u)
	return done
}

func createSession(txn *memdb.Txn, c command.CreateSession) command.Outcome {
	s := c.Session
	user := first[directory.User](txn, tableUsers, indexID, s.User)
	switch {
	case user == nil || user.Tenant != s.Tenant:
		return refused(fault.NotFound, "the user does not exist")
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
	if !before.State.Allows(keys.Protect) {
		return command.Outcome{Total: before.Leased}
	}
	next := *before
	granted := min(c.Count, keys.GCMRandomNonceLimit-before.Leased)
	next.Leased += granted
	put(txn, tableVersions, &next)
	return command.Outcome{Granted: granted, Total: next.Leased}
}
