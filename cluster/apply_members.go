package cluster

import (
	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

var (
	noMember      = refused(fault.NotFound, "the member does not exist")
	removedMember = refused(fault.Conflict, "the member was removed: the node can only come back as a new one")
	oldProgram    = refused(fault.Conflict, "the node's program is older than the version that the cluster was finalised at")
)

// finalised returns the newest version of commands that may be written.
func finalised(txn *memdb.Txn) uint32 {
	return first[directory.Cluster](txn, tableCluster, indexID, "").Commands()
}

// checkSelf holds what is true of what a member says of itself.
func checkSelf(txn *memdb.Txn, address, api, program string, version uint32) command.Outcome {
	switch {
	case !directory.ValidNodeAddress(address) || api != "" && !directory.ValidNodeAddress(api) || len(program) > directory.NodeNameMax:
		return refused(fault.Malformed, "the member has no valid address or program")
	case version < finalised(txn):
		return oldProgram
	}
	return done
}

func addMember(txn *memdb.Txn, c command.AddMember) command.Outcome {
	m := c.Member
	switch {
	case !directory.ValidNodeID(m.ID) || !directory.ValidNodeName(m.Name):
		return refused(fault.Malformed, "the member has no valid id or name")
	case m.Status != directory.MemberActive || m.RemovedAt != 0 || m.Key == [32]byte{}:
		return refused(fault.Malformed, "the member is not active, or has no key")
	case len(all[directory.Member](txn, tableMembers, indexID)) > 0:
		return refused(fault.Conflict, "the cluster has members already: others join it")
	}
	if out := checkSelf(txn, m.Address, m.API, m.Program, m.CommandVersion); out.Refused != 0 {
		return out
	}
	put(txn, tableMembers, &m)
	return done
}

func updateMember(txn *memdb.Txn, c command.UpdateMember) command.Outcome {
	m := first[directory.Member](txn, tableMembers, indexID, c.ID)
	switch {
	case m == nil:
		return noMember
	case m.Status != directory.MemberActive:
		return removedMember
	}
	if out := checkSelf(txn, c.Address, c.API, c.Program, c.CommandVersion); out.Refused != 0 {
		return out
	}
	for _, o := range activeMembers(txn) {
		if o.ID != c.ID && o.Address == c.Address {
			return refused(fault.Conflict, "another member has this address")
		}
	}
	next := *m
	next.Address, next.API, next.CommandVersion, next.Program = c.Address, c.API, c.CommandVersion, c.Program
	put(txn, tableMembers, &next)
	return done
}

func removeMember(txn *memdb.Txn, c command.RemoveMember) command.Outcome {
	m := first[directory.Member](txn, tableMembers, indexID, c.ID)
	switch {
	case m == nil:
		return noMember
	case m.Status != directory.MemberActive:
		return refused(fault.Conflict, "the member was removed before")
	case c.At <= 0:
		return refused(fault.Malformed, "the removal has no time")
	case len(activeMembers(txn)) == 1:
		return refused(fault.Conflict, "the last active member cannot be removed")
	}
	retire(txn, m, c.At)
	return done
}

// retire makes a member a removed one. Its record stays: it says whose certificate is refused.
func retire(txn *memdb.Txn, m *directory.Member, at int64) {
	next := *m
	next.Status, next.RemovedAt = directory.MemberRemoved, at
	put(txn, tableMembers, &next)
}

func activeMembers(txn *memdb.Txn) []*directory.Member {
	var active []*directory.Member
	for _, m := range all[directory.Member](txn, tableMembers, indexID) {
		if m.Status == directory.MemberActive {
			active = append(active, m)
		}
	}
	return active
}

func finaliseVersion(txn *memdb.Txn, c command.FinaliseVersion) command.Outcome {
	cluster := first[directory.Cluster](txn, tableCluster, indexID, "")
	members := activeMembers(txn)
	switch {
	case c.Version == 0:
		return refused(fault.Malformed, "there is no version 0")
	case c.Version < finalised(txn):
		return refused(fault.Conflict, "the cluster was finalised at a newer version")
	case len(members) == 0:
		return refused(fault.Conflict, "the cluster has no member that says which version it knows")
	}
	for _, m := range members {
		if m.CommandVersion < c.Version {
			return refused(fault.Conflict, "an active member has a program that does not know the version; upgrade it or remove it first")
		}
	}
	next := *cluster
	next.CommandVersion = c.Version
	put(txn, tableCluster, &next)
	return done
}

func resetMembers(txn *memdb.Txn, c command.ResetMembers) command.Outcome {
	survivor := first[directory.Member](txn, tableMembers, indexID, c.Survivor)
	switch {
	case survivor == nil:
		return noMember
	case survivor.Status != directory.MemberActive:
		return removedMember
	case c.At <= 0:
		return refused(fault.Malformed, "the removal has no time")
	}
	for _, m := range activeMembers(txn) {
		if m.ID != c.Survivor {
			retire(txn, m, c.At)
		}
	}
	return done
}
