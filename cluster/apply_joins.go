package cluster

import (
	"crypto/sha256"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// How many invitations to join, and how many requests that are not decided or not completed, there may be at once.
const (
	maxJoinInvitations = 100
	maxJoins           = 100
)

// The most bytes of what a joining node says of itself. A P-256 key has 91 bytes as SubjectPublicKeyInfo, an RSA-4096 key 550.
const (
	maxNodeKey = 256
	maxJoinKey = 2048
	maxWrapped = 2048 // each key of a transfer
)

// kcvBytes is the length of a key check value.
const kcvBytes = 8

var (
	badJoinCode = unauthenticated("join-code", "the invitation code is unknown, used or over: ask for a new one")
	noJoin      = refused(fault.NotFound, "the request to join does not exist, or is over")
)

func createJoinInvitation(txn *memdb.Txn, c command.CreateJoinInvitation) command.Outcome {
	i := c.Invitation
	switch {
	case !validKey(i.ID) || i.ExpiresAt <= i.CreatedAt || i.Hash == [32]byte{}:
		return refused(fault.Malformed, "the invitation is not valid")
	case i.ExpiresAt-i.CreatedAt > directory.JoinInvitationMost.Milliseconds():
		return refused(fault.Malformed, "the invitation would last longer than a day")
	case first[directory.JoinInvitation](txn, tableJoinCodes, indexID, i.ID) != nil,
		first[directory.JoinInvitation](txn, tableJoinCodes, indexCode, string(i.Hash[:])) != nil:
		return refused(fault.Conflict, "the invitation exists already")
	}
	var ended []*directory.JoinInvitation
	before := all[directory.JoinInvitation](txn, tableJoinCodes, indexID)
	for _, old := range before {
		if old.ExpiresAt <= i.CreatedAt {
			ended = append(ended, old)
		}
	}
	if len(before)-len(ended) >= maxJoinInvitations {
		return refused(fault.Conflict, "too many invitations wait: withdraw some, or wait until they end")
	}
	for _, old := range ended {
		drop(txn, tableJoinCodes, old)
	}
	put(txn, tableJoinCodes, &i)
	return done
}

func dropJoinInvitation(txn *memdb.Txn, c command.DropJoinInvitation) command.Outcome {
	i := first[directory.JoinInvitation](txn, tableJoinCodes, indexID, c.ID)
	if i == nil {
		return refused(fault.NotFound, "the invitation does not exist")
	}
	drop(txn, tableJoinCodes, i)
	return done
}

// requestJoin uses up the invitation. That the keys are keys, and that the node has them, was checked by who proposed it: what a
// parser takes changes with the program, and nodes of two versions must agree.
func requestJoin(txn *memdb.Txn, c command.RequestJoin) command.Outcome {
	j := c.Join
	i := first[directory.JoinInvitation](txn, tableJoinCodes, indexCode, string(j.Hash[:]))
	if i == nil || i.ID != j.Invitation || i.ExpiresAt <= j.CreatedAt {
		return badJoinCode
	}
	if out := checkJoin(&j); out.Refused != 0 {
		return out
	}
	var ended []*directory.Join
	open := 0
	for _, old := range all[directory.Join](txn, tableJoins, indexID) {
		switch {
		case old.ExpiresAt <= j.CreatedAt:
			ended = append(ended, old)
		case old.ID == j.ID:
			return refused(fault.Conflict, "the request to join exists already")
		case !isOpen(old):
		case old.Node == j.Node || old.Name == j.Name:
			return refused(fault.Conflict, "another node that asks to join has this id or name")
		default:
			open++
		}
	}
	if open >= maxJoins {
		return refused(fault.RateLimited, "too many nodes ask to join: decide on some of them, or try again later")
	}
	if out := mayJoin(txn, &j); out.Refused != 0 {
		return out
	}
	for _, old := range ended {
		drop(txn, tableJoins, old)
	}
	drop(txn, tableJoinCodes, i)
	put(txn, tableJoins, &j)
	return done
}

// isOpen reports whether something can still become of a request.
func isOpen(j *directory.Join) bool {
	return j.State == directory.JoinWaiting || j.State == directory.JoinApproved
}

// checkJoin holds what is true of every new request.
func checkJoin(j *directory.Join) command.Outcome {
	wrap := j.Method == directory.JoinWrap
	checked := validCheck(&j.Check)
	switch {
	case !validKey(j.ID) || !directory.ValidNodeID(j.Node) || !directory.ValidNodeName(j.Name):
		return refused(fault.Malformed, "the node has no valid id or name")
	case !directory.ValidNodeAddress(j.Address) || j.API != "" && !directory.ValidNodeAddress(j.API):
		return refused(fault.Malformed, "the node has no valid address")
	case len(j.NodeKey) == 0 || len(j.NodeKey) > maxNodeKey:
		return refused(fault.Malformed, "the node has no valid key")
	case !wrap && j.Method != directory.JoinShared && j.Method != directory.JoinPreloaded:
		return refused(fault.Malformed, "the method of the key transfer is not known")
	case wrap && (len(j.JoinKey) == 0 || len(j.JoinKey) > maxJoinKey || j.OAEP == ""), !wrap && (len(j.JoinKey) > 0 || j.OAEP != ""):
		return refused(fault.Malformed, "the join key does not fit the method of the key transfer")
	case !wrap && !checked, wrap && (len(j.Check.Master) > 0 || len(j.Check.WrapPrivate) > 0 || len(j.Check.WrapSecret) > 0):
		return refused(fault.Malformed, "the key check values do not fit the method of the key transfer")
	case len(j.Program) > directory.NodeNameMax || len(j.OAEP) > directory.NodeNameMax:
		return refused(fault.Malformed, "the version of the program is too long")
	case j.State != directory.JoinWaiting || j.Transfer != nil || j.DecidedBy != "" || j.DecidedAt != 0 || j.ExpiresAt <= j.CreatedAt:
		return refused(fault.Malformed, "the request to join does not wait")
	}
	return done
}

// validCheck reports whether all key check values are there.
func validCheck(k *directory.KeyCheckValues) bool {
	return len(k.Master) == kcvBytes && len(k.WrapPrivate) == kcvBytes && len(k.WrapSecret) == kcvBytes
}

// mayJoin holds what must be true when a node asks, and still when it becomes a member: it is not, and was not, one already, and
// knows the commands that the cluster writes.
func mayJoin(txn *memdb.Txn, j *directory.Join) command.Outcome {
	key := sha256.Sum256(j.NodeKey)
	for _, m := range all[directory.Member](txn, tableMembers, indexID) {
		switch {
		case m.ID == j.Node:
			return refused(fault.Conflict, "the cluster has, or had, a node with this id: a removed node comes back under a new one")
		case m.Key == key:
			return refused(fault.Conflict, "the cluster has, or had, a node with this key: a removed node comes back with a new one")
		case m.Status != directory.MemberActive:
		case m.Name == j.Name:
			return refused(fault.Conflict, "the cluster has a node with this name: choose another")
		case m.Address == j.Address:
			return refused(fault.Conflict, "the cluster has a node with this address")
		}
	}
	if needed := first[directory.Cluster](txn, tableCluster, indexID, "").Commands(); j.CommandVersion < needed {
		return refused(fault.Conflict, fmt.Sprintf(
			"the cluster writes commands of version %d, which the node's program does not know: install a newer program on it", needed))
	}
	return done
}

// openJoin returns a request that is not over, and nil when there is none.
func openJoin(txn *memdb.Txn, id string, at int64) *directory.Join {
	j := first[directory.Join](txn, tableJoins, indexID, id)
	if j == nil || j.ExpiresAt <= at {
		return nil
	}
	return j
}

func decideJoin(txn *memdb.Txn, c command.DecideJoin) command.Outcome {
	j := openJoin(txn, c.ID, c.At)
	switch {
	case j == nil:
		return noJoin
	case j.State != directory.JoinWaiting:
		return refused(fault.Conflict, "the request to join was decided already")
	case c.Fingerprint != j.Fingerprint():
		return refused(fault.Conflict, "the fingerprint is not that of the node that asks to join")
	case !validKey(c.By):
		return refused(fault.Malformed, "nobody decided")
	case !c.Approve && c.Transfer != nil:
		return refused(fault.Malformed, "a node that may not join gets no keys")
	case c.Approve && (j.Method == directory.JoinWrap) != (c.Transfer != nil):
		return refused(fault.Malformed, "the key transfer does not fit its method")
	case c.Transfer != nil && !validTransfer(c.Transfer):
		return refused(fault.Malformed, "the key transfer is not whole")
	}
	next := *j
	next.State, next.DecidedBy, next.DecidedAt = directory.JoinDenied, c.By, c.At
	if c.Approve {
		next.State, next.Transfer = directory.JoinApproved, c.Transfer
	}
	put(txn, tableJoins, &next)
	return done
}

// validTransfer reports whether every key is there.
func validTransfer(t *directory.KeyTransfer) bool {
	for _, wrapped := range [][]byte{t.Master, t.WrapPrivate, t.WrapSecret} {
		if len(wrapped) == 0 || len(wrapped) > maxWrapped {
			return false
		}
	}
	return validCheck(&t.Check)
}

func completeJoin(txn *memdb.Txn, c command.CompleteJoin) command.Outcome {
	j := openJoin(txn, c.ID, c.At)
	switch {
	case j == nil:
		return noJoin
	case j.State == directory.JoinDone:
		return refused(fault.Conflict, "the node has joined already")
	case j.State != directory.JoinApproved:
		return refused(fault.Conflict, "the request to join is not approved")
	}
	if out := mayJoin(txn, j); out.Refused != 0 {
		return out
	}
	next := *j
	next.State, next.Transfer = directory.JoinDone, nil
	put(txn, tableJoins, &next)
	put(txn, tableMembers, &directory.Member{
		ID: j.Node, Name: j.Name, Address: j.Address, Key: sha256.Sum256(j.NodeKey), Status: directory.MemberActive, API: j.API,
		JoinedAt: c.At, CommandVersion: j.CommandVersion, Program: j.Program,
	})
	return done
}
