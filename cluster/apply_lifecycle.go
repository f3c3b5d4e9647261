package cluster

import (
	"math"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// maxKeyReason is the longest reason of a version's state, in bytes.
const maxKeyReason = directory.ReasonMax

var noVersion = refused(fault.NotFound, "the key version does not exist")

func versionOf(txn *memdb.Txn, tenant, id string) *keys.Version {
	v := first[keys.Version](txn, tableVersions, indexID, id)
	if v == nil || v.Tenant != tenant {
		return nil
	}
	return v
}

// activeKey is the version that a version's context, or key object, protects with.
func activeKey(txn *memdb.Txn, v *keys.Version) string {
	if v.Object != "" {
		if o := first[keys.Object](txn, tableObjects, indexID, v.Tenant, v.Object); o != nil {
			return o.ActiveKey
		}
		return ""
	}
	if c := first[directory.Context](txn, tableContexts, indexID, v.Tenant, v.Context); c != nil {
		return c.ActiveKey
	}
	return ""
}

func setVersionState(txn *memdb.Txn, c command.SetVersionState) command.Outcome {
	v := versionOf(txn, c.Tenant, c.Key)
	switch {
	case v == nil:
		return noVersion
	case len(c.Reason) > maxKeyReason || c.At <= 0:
		return refused(fault.Malformed, "the reason is too long, or the time missing")
	case c.State == keys.Destroyed || !v.State.MayBecome(c.State):
		return refused(fault.KeyState, "a version that is "+v.State.String()+" cannot become "+c.State.String())
	case c.State == keys.Active && activeKey(txn, v) != v.ID:
		return refused(fault.KeyState, "another version protects by now")
	}
	next := *v
	next.State, next.Reason = c.State, c.Reason
	if c.State == keys.Deactivated {
		next.DeactivatedAt = c.At
	}
	put(txn, tableVersions, &next)
	return done
}

// validWait reports whether what begins at a time and takes so long has an end: a sum that is too large would be due at once.
func validWait(at, wait int64) bool { return at > 0 && wait >= 0 && wait <= math.MaxInt64-at }

func scheduleDestruction(txn *memdb.Txn, c command.ScheduleDestruction) command.Outcome {
	v := versionOf(txn, c.Tenant, c.Key)
	switch {
	case v == nil:
		return noVersion
	case len(c.Reason) > maxKeyReason || !validWait(c.At, c.Wait):
		return refused(fault.Malformed, "the reason is too long, or the time not valid")
	case c.Cancel == (v.DestroyAt == 0):
		return refused(fault.Conflict, "the destruction of the version is already as asked")
	case !v.State.MayBecome(keys.Destroyed):
		return refused(fault.KeyState, "a version that is "+v.State.String()+" cannot be destroyed: rotate, deactivate or mark it as compromised first")
	}
	next := *v
	next.DestroyAt, next.Reason = 0, c.Reason
	if !c.Cancel {
		next.DestroyAt = c.At + c.Wait
	}
	put(txn, tableVersions, &next)
	return done
}

func destroyVersion(txn *memdb.Txn, c command.DestroyVersion) command.Outcome {
	v := versionOf(txn, c.Tenant, c.Key)
	switch {
	case v == nil:
		return noVersion
	case v.DestroyAt == 0 || c.At < v.DestroyAt || !v.State.MayBecome(keys.Destroyed):
		return refused(fault.Conflict, "the version is not due to be destroyed")
	}
	put(txn, tableVersions, v.Destroy(c.At))
	return done
}

func setMinimumVersion(txn *memdb.Txn, c command.SetMinimumVersion) command.Outcome {
	if c.Object != "" {
		o := first[keys.Object](txn, tableObjects, indexID, c.Tenant, c.Object)
		if o == nil {
			return refused(fault.NotFound, "the key does not exist")
		}
		if c.Minimum > o.Versions {
			return refused(fault.Conflict, "the key has no such version")
		}
		next := *o
		next.MinimumVersion = c.Minimum
		put(txn, tableObjects, &next)
		return done
	}
	before := first[directory.Context](txn, tableContexts, indexID, c.Tenant, c.Context)
	switch {
	case before == nil:
		return noContext
	case c.Minimum > before.Versions:
		return refused(fault.Conflict, "the context has no such version")
	}
	next := *before
	next.MinimumVersion = c.Minimum
	put(txn, tableContexts, &next)
	return done
}

func mergeUsage(txn *memdb.Txn, c command.MergeUsage) command.Outcome {
	for _, u := range c.Usage {
		if versionOf(txn, u.Tenant, u.Key) == nil {
			continue
		}
		if before := first[keys.Usage](txn, tableUsage, indexID, u.Key); before != nil {
			u = before.Add(u)
		}
		put(txn, tableUsage, &u)
	}
	return done
}

func dropUsage(txn *memdb.Txn, key string) {
	if u := first[keys.Usage](txn, tableUsage, indexID, key); u != nil {
		drop(txn, tableUsage, u)
	}
}

func setKeyRotation(txn *memdb.Txn, c command.SetKeyRotation) command.Outcome {
	o := first[keys.Object](txn, tableObjects, indexID, c.Tenant, c.Name)
	if o == nil {
		return refused(fault.NotFound, "the key does not exist")
	}
	next := *o
	next.RotationDays = c.Days
	put(txn, tableObjects, &next)
	return done
}
