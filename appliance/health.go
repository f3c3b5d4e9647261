package appliance

import (
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/engine/fault"
)

// States of a node: DESIGN section 7.
const (
	stateOperational = "operational"
	stateDegraded    = "degraded" // serves, and something needs a person
	stateFailed      = "failed"   // serves nothing
)

// state says what the node is, why, and what to do. It makes no call to the token or the disk.
func (n *node) state() wire.State {
	s := wire.State{State: stateOperational, Reasons: []wire.Reason{}, Version: Version, Node: n.identity.NodeID, Cluster: n.identity.ClusterID}
	worse := func(state string, kind fault.Kind, detail, next string) {
		if s.State != stateFailed {
			s.State = state
		}
		s.Reasons = append(s.Reasons, wire.Reason{Code: kind.Code(), Detail: detail, NextStep: next})
	}
	if since, down := n.token.DownSince(); down {
		left := n.config.HSM.grace() - time.Since(since)
		next := "Reconnect the token, or look at its own log; the node finds it again by itself."
		if left > 0 {
			worse(stateDegraded, fault.HSMUnavailable, "The token does not answer; cached keys serve for "+left.Round(time.Second).String()+" more.", next)
		} else {
			worse(stateFailed, fault.HSMUnavailable, "The token has not answered since "+since.UTC().Format(time.RFC3339)+".", next)
		}
	}
	if a := n.audit.Status(); a.Latched {
		worse(stateFailed, fault.AuditUnavailable, "Audit records cannot be written: "+a.Reason+".",
			"Mend the disk of the audit folder, run 'cryptoserved audit verify DIR' on it, then restart the node.")
	} else if a.SpareMissing {
		worse(stateDegraded, fault.AuditUnavailable, "There is no room for the next audit segment.",
			"Free space on the disk of the audit folder; when the current segment is full, operations are refused.")
	}
	if c := n.cluster.Status(); !c.Healthy {
		worse(stateDegraded, fault.LedgerUnavailable, "Changes cannot be recorded: "+c.Reason+". Encrypt and decrypt go on.",
			"Look at the disk of the data directory: space, health and speed.")
	}
	return s
}

// ready reports whether the node may be sent requests.
func (n *node) ready() error {
	if s := n.state(); s.State == stateFailed {
		return fault.New(fault.Unavailable, "appliance.ready", s.Reasons[0].Detail)
	}
	return nil
}
