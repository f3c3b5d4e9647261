package appliance

import (
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/cluster"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm"
)

// States of a node: DESIGN section 7.
const (
	stateOperational = "operational"
	stateDegraded    = "degraded" // serves, and something needs a person
	stateFailed      = "failed"   // serves nothing
)

// auditRecordRoom is more than the audit record of one operation needs, in bytes. With less left and no next segment the
// node refuses operations, so it must not be sent any. Batches have longer records and are refused earlier.
const auditRecordRoom = 8192

// judgement is what the states of the parts mean for the node. Its reasons are in the order of the parts.
type judgement struct {
	state   string
	reasons []wire.Reason
}

func (j *judgement) add(state string, kind fault.Kind, detail, next string) {
	if j.state != stateFailed {
		j.state = state
	}
	j.reasons = append(j.reasons, wire.Reason{Code: kind.Code(), Detail: detail, NextStep: next})
}

// judge says what the node is, why, and what to do. Anybody may ask, so no text of the system, such as a path, is in it.
func judge(token hsm.Status, grace time.Duration, records audit.Status, ledger cluster.Status, others others, now time.Time) judgement {
	j := judgement{state: stateOperational, reasons: []wire.Reason{}}
	j.token(token, grace, now)
	j.audit(records)
	switch {
	case !others.current && others.refuse > 0:
		j.add(stateFailed, fault.StaleReplica, lostOthers+" Other nodes do not accept it as a member.", "Look at 'cryptoserve cluster members' on "+
			"another node. If this one was removed, stop it; to use the machine again clear its data directory and token and join as a new node.")
	case !others.current:
		j.add(stateFailed, fault.StaleReplica, lostOthers, "Look at the network between the nodes, at the other nodes and at the disk of this "+
			"one; the node goes on by itself when it reaches a majority.")
	case !ledger.Healthy:
		j.add(stateDegraded, fault.LedgerUnavailable, "Changes cannot be recorded. Encrypt and decrypt go on.",
			"Look at the disk of the data directory: space, health and speed. The node's log says why.")
	}
	return j
}

// others is how this node stands with the rest of the cluster.
type others struct {
	current bool // it may answer from its records
	refuse  int  // how many nodes do not accept it as a member
}

const lostOthers = "The node has no contact with a majority of the cluster, so it cannot know whether rights were taken away. " +
	"It serves contexts with consistency strict only, and those only when the majority answers."

func (j *judgement) token(token hsm.Status, grace time.Duration, now time.Time) {
	if !token.Down {
		return
	}
	what, next := "The token does not answer", "Reconnect the token, or look at its own log; the node finds it again by itself."
	if token.PINRefused {
		what, next = "The token refused the PIN", "Correct the PIN file, or connect the right token, and restart the node: it does not try a refused PIN again."
	}
	if left := grace - now.Sub(token.Since); left > 0 {
		j.add(stateDegraded, fault.HSMUnavailable, what+"; cached keys serve for "+left.Round(time.Second).String()+" more.", next)
	} else {
		j.add(stateFailed, fault.HSMUnavailable, what+"; it has not served since "+token.Since.UTC().Format(time.RFC3339)+".", next)
	}
}

func (j *judgement) audit(records audit.Status) {
	switch {
	case records.Latched:
		j.add(stateFailed, fault.AuditUnavailable, "Audit records cannot be written; the node's log says why.",
			"Mend the disk of the audit folder, run 'cryptoserved audit verify DIR' on it, then restart the node.")
	case records.SpareMissing && records.BytesLeft < auditRecordRoom:
		j.add(stateFailed, fault.AuditUnavailable, "There is no room for another audit record.",
			"Free space on the disk of the audit folder; the node then goes on by itself.")
	case records.SpareMissing:
		j.add(stateDegraded, fault.AuditUnavailable, "There is no room for the next audit segment.",
			"Free space on the disk of the audit folder; when the current segment is full, operations are refused.")
	}
}

// state says how this node is. It makes no call to the token or the disk.
func (n *node) state() wire.State {
	j := judge(n.token.Status(), n.config.HSM.grace(), n.audit.Status(), n.cluster.Status(), n.others(), time.Now())
	return wire.State{State: j.state, Reasons: j.reasons, Version: Version, Node: n.identity.NodeID, Cluster: n.identity.ClusterID}
}

func (n *node) others() others {
	o := others{current: n.engine.Current()}
	if n.network != nil {
		o.refuse = n.network.RefusedBy()
	}
	return o
}

// ready reports whether the node may be sent requests.
func (n *node) ready() error {
	if !n.engine.Current() {
		return fault.New(fault.StaleReplica, "appliance.ready", lostOthers)
	}
	if s := n.state(); s.State == stateFailed {
		return fault.New(fault.Unavailable, "appliance.ready", s.Reasons[0].Detail)
	}
	return nil
}
