package cluster

import (
	"slices"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// maxPolicies is how many policies a tenant can have.
const maxPolicies = 1000

var noContext = refused(fault.NotFound, "the context does not exist")

func putPolicy(txn *memdb.Txn, c command.PutPolicy) command.Outcome {
	p := c.Policy
	if p.Validate() != nil || !validKey(p.Tenant) {
		return refused(fault.Malformed, "the policy is not valid")
	}
	before := first[directory.Policy](txn, tablePolicies, indexID, p.Tenant, p.Name)
	switch {
	case first[directory.Tenant](txn, tableTenants, indexID, p.Tenant) == nil:
		return noTenant
	case c.Create && before != nil:
		return refused(fault.Conflict, "a policy with this name exists already")
	case !c.Create && before == nil:
		return refused(fault.NotFound, "the policy does not exist")
	case c.Create && len(all[directory.Policy](txn, tablePolicies, indexID+"_prefix", p.Tenant)) >= maxPolicies:
		return refused(fault.Conflict, "the tenant has as many policies as it can have")
	}
	if before != nil {
		p.CreatedAt = before.CreatedAt
	}
	put(txn, tablePolicies, &p)
	return done
}

func deletePolicy(txn *memdb.Txn, c command.DeletePolicy) command.Outcome {
	p := first[directory.Policy](txn, tablePolicies, indexID, c.Tenant, c.Name)
	if p == nil {
		return refused(fault.NotFound, "the policy does not exist")
	}
	drop(txn, tablePolicies, p)
	return done
}

func changeContext(txn *memdb.Txn, c command.ChangeContext) command.Outcome {
	before := first[directory.Context](txn, tableContexts, indexID, c.Context.Tenant, c.Context.Name)
	if before == nil {
		return noContext
	}
	next := c.Context
	if next.Revision != before.Revision+1 {
		return refused(fault.Conflict, "the context was changed in between: read it again")
	}
	// What this command does not change.
	next.Derivation, next.Status, next.CreatedAt = before.Derivation, before.Status, before.CreatedAt
	next.ActiveKey, next.Versions, next.MinimumVersion = before.ActiveKey, before.Versions, before.MinimumVersion
	if next.Validate() != nil {
		return refused(fault.Malformed, "the context is not valid")
	}
	if c.Version == nil {
		if next.Algorithm != before.Algorithm || next.Format != before.Format {
			return refused(fault.Malformed, "another algorithm or format needs a new key version")
		}
		put(txn, tableContexts, &next)
		return done
	}
	v := *c.Version
	if out := checkNewVersion(txn, &next, &v, before.Versions+1); out.Refused != 0 {
		return out
	}
	deactivate(txn, before.ActiveKey, v.CreatedAt)
	next.ActiveKey, next.Versions = v.ID, v.Number
	put(txn, tableContexts, &next)
	put(txn, tableVersions, &v)
	return done
}

func setContextStatus(txn *memdb.Txn, c command.SetContextStatus) command.Outcome {
	before := first[directory.Context](txn, tableContexts, indexID, c.Tenant, c.Name)
	switch {
	case before == nil:
		return noContext
	case !validStatus(c.Status):
		return refused(fault.Malformed, "the context's status is unknown")
	}
	next := *before
	next.Status = c.Status
	put(txn, tableContexts, &next)
	return done
}

func deleteContext(txn *memdb.Txn, c command.DeleteContext) command.Outcome {
	before := first[directory.Context](txn, tableContexts, indexID, c.Tenant, c.Name)
	if before == nil {
		return noContext
	}
	versions := all[keys.Version](txn, tableVersions, indexContext, c.Tenant, c.Name)
	for _, v := range versions {
		if v.State != keys.Destroyed {
			return refused(fault.Conflict, "the context is not empty: a version of its key, or of a key in it, is not destroyed")
		}
	}
	if slices.ContainsFunc(all[directory.Application](txn, tableApplications, indexTenant, c.Tenant), func(a *directory.Application) bool {
		_, granted := a.Grant(c.Name)
		return granted
	}) {
		return refused(fault.Conflict, "the context is granted to an application")
	}
	for _, k := range all[keys.LegacyKey](txn, tableLegacy, indexID+"_prefix", c.Tenant) {
		if k.Context == c.Name {
			return refused(fault.Conflict, "the context has keys of an imported deployment")
		}
	}
	for _, v := range versions {
		dropUsage(txn, v.ID)
		drop(txn, tableVersions, v)
	}
	for _, o := range all[keys.Object](txn, tableObjects, indexID+"_prefix", c.Tenant) {
		if o.Context == c.Name {
			drop(txn, tableObjects, o)
		}
	}
	drop(txn, tableContexts, before)
	return done
}
