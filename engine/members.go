package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/joincode"
	"cryptoserve/engine/policy"
)

// How long an invitation to join lasts when nobody says otherwise, and at most.
const (
	JoinInvitationLifetime = time.Hour
	JoinInvitationMost     = directory.JoinInvitationMost
)

var (
	errNoFleet = fault.New(fault.Unavailable, "engine.cluster", "this node does not know how the others are")
	errNoPort  = fault.New(fault.Conflict, "engine.cluster",
		"this node has no cluster port, so no other can join: set cluster.listen and start it again")
	errNoMember = fault.New(fault.NotFound, "engine.cluster", "there is no such node in the cluster")
)

// MemberInfo is a node of the cluster as the node that answers sees it.
type MemberInfo struct {
	Record *directory.Member
	// Now is how the node is; nil for a removed one.
	Now *directory.NodeStatus
}

// ClusterStatus is how the cluster is, as the node that answers sees it.
type ClusterStatus struct {
	Record  *directory.Cluster
	Node    string       // which answers
	Leader  string       // empty while there is none
	Members []MemberInfo // in order of id, removed ones too
	Quorum  Quorum
	// FaultTolerance says in words how many nodes may fail, and what to do.
	FaultTolerance string
}

// Quorum is who decides, and who is there.
type Quorum struct {
	Voters   int // nodes whose agreement counts
	Healthy  int // of them, those that answer and can agree
	Majority int // how many must agree
}

// Spare is how many more nodes can fail; negative while no write is possible.
func (q Quorum) Spare() int { return q.Healthy - q.Majority }

// ClusterStatus tells how the cluster and each of its nodes are.
func (e *Engine) ClusterStatus(ctx context.Context, c *Call) (*ClusterStatus, error) {
	r := c.begin(policy.ReadCluster)
	_, err := e.authorizeChange(c, policy.ReadCluster)
	var s *ClusterStatus
	if err == nil {
		s, err = e.clusterStatus(ctx)
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return s, nil
}

func (e *Engine) clusterStatus(ctx context.Context) (*ClusterStatus, error) {
	if e.fleet == nil {
		return nil, errNoFleet
	}
	view := e.ledger.View()
	record := view.Cluster()
	if record == nil {
		return nil, fault.New(fault.Unavailable, "engine.cluster", "this node has not learned of its cluster yet: try again")
	}
	s := &ClusterStatus{Record: record, Node: e.nodeID}
	now := e.fleet.Nodes(ctx)
	leads := -1
	for _, m := range view.Members() {
		info := MemberInfo{Record: m}
		if i := slices.IndexFunc(now, func(n directory.NodeStatus) bool { return n.ID == m.ID }); i >= 0 && m.Status == directory.MemberActive {
			info.Now = &now[i]
		} else if m.Status == directory.MemberActive {
			info.Now = &directory.NodeStatus{ID: m.ID, Reason: "nothing is known of it yet"}
		}
		s.Members = append(s.Members, info)
	}
	var away, coming []string
	for i := range now {
		n := &now[i]
		if n.Leader && (leads < 0 || n.Term > now[leads].Term) { // of two the one before does not know yet
			leads, s.Leader = i, n.ID
		}
		name := nameOf(view.Member(n.ID), n.ID)
		switch {
		case !n.Voter:
			coming = append(coming, name)
			continue
		case n.Reachable && n.Healthy:
			s.Quorum.Healthy++
		default:
			away = append(away, name)
		}
		s.Quorum.Voters++
	}
	s.Quorum.Majority = s.Quorum.Voters/2 + 1
	s.FaultTolerance = tolerance(s.Quorum, away)
	if len(coming) > 0 {
		s.FaultTolerance += "; not counted, because they are catching up: " + strings.Join(coming, ", ")
	}
	return s, nil
}

// nameOf is what people call a node.
func nameOf(m *directory.Member, id string) string {
	if m == nil || m.Name == "" {
		return id
	}
	return m.Name
}

// tolerance says how many nodes may fail, and what to do about it. Away are the voters that do not answer or cannot agree.
func tolerance(q Quorum, away []string) string {
	spare, names := q.Spare(), strings.Join(away, ", ")
	switch {
	case q.Voters == 0:
		return "it is not known who belongs to the cluster: wait, or look at another node"
	case len(away) == 0 && q.Voters == 1:
		return "no node may fail: there is only one; add two nodes"
	case len(away) == 0 && spare == 0:
		return "no node may fail: one more failure stops writes; add a node"
	case len(away) == 0:
		return fmt.Sprintf("%d of %d nodes can fail", spare, q.Voters)
	case spare < 0:
		return fmt.Sprintf("%d of %d nodes answer: nothing can be written and no node serves for long; start %s again, "+
			"and only if that is not possible go on with one node (cryptoserved cluster force-new)", q.Healthy, q.Voters, names)
	case spare == 0:
		return fmt.Sprintf("%d of %d nodes answer: one more failure stops writes; start %s again, or remove it and add another", q.Healthy,
			q.Voters, names)
	default:
		return fmt.Sprintf("%d of %d nodes answer: %d more can fail; start %s again, or remove it and add another", q.Healthy, q.Voters,
			spare, names)
	}
}

// InviteMember makes a code with which one node may ask to join, within lifetime; 0 means JoinInvitationLifetime. The code is told
// once: the cluster keeps its hash.
func (e *Engine) InviteMember(
	ctx context.Context, c *Call, lifetime time.Duration,
) (*directory.JoinInvitation, *joincode.Code, error) {
	r := c.begin(policy.InviteMember)
	i := &directory.JoinInvitation{ID: "joincode_" + randomID()}
	r.Resource = i.ID
	var code *joincode.Code
	err := e.changeAs(ctx, c, &r, policy.InviteMember, func(by *directory.User) (command.Command, error) {
		if lifetime == 0 {
			lifetime = JoinInvitationLifetime
		}
		if lifetime < time.Minute || lifetime > JoinInvitationMost {
			return nil, malformedField("expires_minutes", "must be 1 to 1440, which is a day")
		}
		var err error
		if code, err = e.newJoinCode(); err != nil {
			return nil, err
		}
		now := e.now()
		i.Hash, i.CreatedAt, i.ExpiresAt = code.Secret.Hash(), now.UnixMilli(), now.Add(lifetime).UnixMilli()
		if by != nil {
			i.CreatedBy = by.ID
		}
		return command.CreateJoinInvitation{Invitation: *i}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return i, code, nil
}

// newJoinCode makes a code with this node's address first.
func (e *Engine) newJoinCode() (*joincode.Code, error) {
	view := e.ledger.View()
	record := view.Cluster()
	code := &joincode.Code{}
	self := view.Member(e.nodeID)
	if self != nil && self.Address != "" {
		code.Addresses = append(code.Addresses, self.Address)
	}
	for _, m := range view.Members() {
		if m.Status == directory.MemberActive && m.ID != e.nodeID && m.Address != "" && len(code.Addresses) < joincode.MaxAddresses {
			code.Addresses = append(code.Addresses, m.Address)
		}
	}
	if e.fleet == nil || e.giver == nil || record == nil || len(code.Addresses) == 0 {
		return nil, errNoPort
	}
	code.ClusterID, code.Fingerprint = record.ID, sha256.Sum256(record.CACertificate)
	rand.Read(code.Secret[:])
	return code, nil
}

// JoinInvitations lists the invitations that can still be used, in order of id.
func (e *Engine) JoinInvitations(_ context.Context, c *Call) ([]*directory.JoinInvitation, error) {
	r := c.begin(policy.ListJoins)
	_, err := e.authorizeChange(c, policy.ListJoins)
	now := e.now().UnixMilli()
	var list []*directory.JoinInvitation
	if err == nil {
		list = slices.DeleteFunc(e.ledger.View().JoinInvitations(), func(i *directory.JoinInvitation) bool { return i.ExpiresAt <= now })
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// DropJoinInvitation takes an invitation to join back.
func (e *Engine) DropJoinInvitation(ctx context.Context, c *Call, id string) error {
	r := c.begin(policy.DropJoinInvitation)
	r.Resource = id
	return e.changeAs(ctx, c, &r, policy.DropJoinInvitation, func(*directory.User) (command.Command, error) {
		if !slices.ContainsFunc(e.ledger.View().JoinInvitations(), func(i *directory.JoinInvitation) bool { return i.ID == id }) {
			return nil, fault.New(fault.NotFound, "engine.join", "there is no such invitation")
		}
		return command.DropJoinInvitation{ID: id}, nil
	})
}

// RemovalSpec says how a member is removed.
type RemovalSpec struct {
	// Force removes it even if the rest has no majority then.
	Force  bool
	Reason string // for the node's log
}

// RemoveMember removes a node for good. It answers when no node honours it any more.
func (e *Engine) RemoveMember(ctx context.Context, c *Call, id string, in RemovalSpec) (*directory.Member, error) {
	r := c.begin(policy.RemoveMember)
	r.Resource = id
	err := e.changeAs(ctx, c, &r, policy.RemoveMember, func(*directory.User) (command.Command, error) {
		if len(in.Reason) > directory.ReasonMax {
			return nil, malformedField("reason", "is too long")
		}
		status, err := e.clusterStatus(ctx)
		if err != nil {
			return nil, err
		}
		if err := mayRemove(status, id, in.Force); err != nil {
			return nil, err
		}
		if in.Force {
			r.Cause = "forced"
		}
		return command.RemoveMember{ID: id, At: e.now().UnixMilli()}, nil
	})
	if err != nil {
		return nil, err
	}
	e.log.Warn("a member was removed", "member", id, "forced", in.Force, "reason", in.Reason, "request", c.RequestID)
	return e.ledger.View().Member(id), nil
}

// mayRemove refuses to remove what is no member, the last one, and, unless it is forced, one without which the rest could not write.
func mayRemove(s *ClusterStatus, id string, force bool) error {
	active := 0
	var found *MemberInfo
	for i := range s.Members {
		m := &s.Members[i]
		if m.Record.ID == id {
			found = m
		}
		if m.Record.Status == directory.MemberActive {
			active++
		}
	}
	switch {
	case found == nil:
		return errNoMember
	case found.Record.Status != directory.MemberActive:
		return fault.New(fault.Conflict, "engine.cluster", "the node was removed already")
	case active == 1:
		return fault.New(fault.Conflict, "engine.cluster", "it is the last node: to end a cluster, stop it and delete its data directory")
	case force || !found.Now.Voter:
		return nil
	}
	rest := Quorum{Voters: s.Quorum.Voters - 1, Healthy: s.Quorum.Healthy}
	if found.Now.Reachable && found.Now.Healthy {
		rest.Healthy--
	}
	rest.Majority = rest.Voters/2 + 1
	if rest.Spare() < 0 {
		return fault.New(fault.Conflict, "engine.cluster", fmt.Sprintf("%d of the %d nodes that would be left answer, and %d must: nothing "+
			"could be written any more; start the others first, or remove it by force if they never come back", rest.Healthy, rest.Voters,
			rest.Majority))
	}
	return nil
}

// TransferLeadership has a member lead, or any that is up to date when to is empty.
func (e *Engine) TransferLeadership(ctx context.Context, c *Call, to string) error {
	r := c.begin(policy.TransferLeadership)
	r.Resource = to
	_, err := e.authorizeChange(c, policy.TransferLeadership)
	if err == nil {
		err = e.mayLead(ctx, to)
	}
	if err != nil {
		return e.finish(c, &r, err)
	}
	r.Administrative = true
	return e.steps(c, &r, func() error { return e.fleet.TransferLeadership(ctx, to) })
}

func (e *Engine) mayLead(ctx context.Context, to string) error {
	s, err := e.clusterStatus(ctx)
	switch {
	case err != nil:
		return err
	case s.Quorum.Voters < 2:
		return fault.New(fault.Conflict, "engine.cluster", "there is no other node that could lead: add one first")
	case to == "":
		return nil
	case to == s.Leader:
		return fault.New(fault.Conflict, "engine.cluster", "the node leads already")
	}
	for _, m := range s.Members {
		switch {
		case m.Record.ID != to || m.Record.Status != directory.MemberActive:
		case !m.Now.Reachable || !m.Now.Healthy:
			return fault.New(fault.Conflict, "engine.cluster", "the node does not answer, or is not healthy: it cannot lead")
		case !m.Now.Voter:
			return fault.New(fault.Conflict, "engine.cluster", "the node is still catching up: it can lead when it has a vote")
		default:
			return nil
		}
	}
	return errNoMember
}

// Agreement is what digests tell.
type Agreement string

// What digests tell. Unknown is when fewer than two nodes are at one index, or not all nodes answered and none differs.
const (
	Agree   Agreement = "equal"
	Differ  Agreement = "different"
	Unknown Agreement = "unknown"
)

// Digests returns the digest of each node's state, and whether those at one index are equal: two that differ mean that a node has
// another state than the others, which must never be.
func (e *Engine) Digests(ctx context.Context, c *Call) ([]directory.NodeDigest, Agreement, error) {
	r := c.begin(policy.ReadDigest)
	_, err := e.authorizeChange(c, policy.ReadDigest)
	if err == nil && e.fleet == nil {
		err = errNoFleet
	}
	var list []directory.NodeDigest
	verdict := Unknown
	if err == nil {
		list = e.fleet.Digests(ctx)
		if verdict = agreement(list); verdict == Differ {
			e.log.Error("nodes have different states at one index: take the one that differs out of the cluster and let it join anew",
				"digests", list)
			r.Cause = "different"
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, Unknown, err
	}
	return list, verdict, nil
}

func agreement(list []directory.NodeDigest) Agreement {
	at := map[uint64][32]byte{}
	whole := true
	for _, d := range list {
		if d.Reason != "" {
			whole = false
			continue
		}
		if before, ok := at[d.Applied]; ok && before != d.Digest {
			return Differ
		}
		at[d.Applied] = d.Digest
	}
	if whole && len(at) == 1 {
		return Agree
	}
	return Unknown
}

// FinaliseVersion lets the cluster write commands of a version, which all its nodes must know. There is no way back to a program
// that does not.
func (e *Engine) FinaliseVersion(ctx context.Context, c *Call, version uint32) (*directory.Cluster, error) {
	r := c.begin(policy.FinaliseVersion)
	r.Resource = fmt.Sprint(version)
	err := e.changeAs(ctx, c, &r, policy.FinaliseVersion, func(*directory.User) (command.Command, error) {
		view := e.ledger.View()
		now := view.Cluster().Commands()
		if version <= now {
			return nil, fault.New(fault.Conflict, "engine.cluster", fmt.Sprintf("the cluster writes commands of version %d already", now))
		}
		var old []string
		for _, m := range view.Members() {
			if m.Status == directory.MemberActive && m.CommandVersion < version {
				old = append(old, fmt.Sprintf("%s knows commands up to version %d", nameOf(m, m.ID), m.CommandVersion))
			}
		}
		if len(old) > 0 {
			return nil, fault.New(fault.Conflict, "engine.cluster", "not all nodes know this version: "+strings.Join(old, ", ")+
				"; install a newer program there first")
		}
		return command.FinaliseVersion{Version: version}, nil
	})
	if err != nil {
		return nil, err
	}
	return e.ledger.View().Cluster(), nil
}
