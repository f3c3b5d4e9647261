package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/joincode"
	"cryptoserve/engine/policy"
)

// ClusterEngine administers the nodes of the cluster.
type ClusterEngine interface {
	ClusterStatus(ctx context.Context, call *engine.Call) (*engine.ClusterStatus, error)
	InviteMember(ctx context.Context, call *engine.Call, lifetime time.Duration) (*directory.JoinInvitation, *joincode.Code, error)
	JoinInvitations(ctx context.Context, call *engine.Call) ([]*directory.JoinInvitation, error)
	DropJoinInvitation(ctx context.Context, call *engine.Call, id string) error
	Joins(ctx context.Context, call *engine.Call) ([]engine.JoinInfo, error)
	ApproveJoin(ctx context.Context, call *engine.Call, id, fingerprint string) (engine.JoinInfo, error)
	DenyJoin(ctx context.Context, call *engine.Call, id string) (engine.JoinInfo, error)
	RemoveMember(ctx context.Context, call *engine.Call, id string, in engine.RemovalSpec) (*directory.Member, error)
	TransferLeadership(ctx context.Context, call *engine.Call, to string) error
	Digests(ctx context.Context, call *engine.Call) ([]directory.NodeDigest, engine.Agreement, error)
	FinaliseVersion(ctx context.Context, call *engine.Call, version uint32) (*directory.Cluster, error)
}

const (
	clusterPath         = "/api/v1/cluster"
	joinInvitationsPath = clusterPath + "/invitations"
	joinsPath           = clusterPath + "/joins"
)

// clusterRoutes are its routes.
func clusterRoutes(l Limits) []route {
	approve := changing(l, http.MethodPost, joinsPath+"/:join/approve", policy.DecideJoin, (*Server).approveJoin)
	approve.timeout = l.KeyTimeout // the token wraps its keys, and the security officer signs in for it
	return []route{
		reading(l, clusterPath, policy.ReadCluster, (*Server).cluster),
		secretly(changing(l, http.MethodPost, joinInvitationsPath, policy.InviteMember, (*Server).inviteMember)),
		reading(l, joinInvitationsPath, policy.ListJoins, (*Server).joinInvitations),
		ending(l, joinInvitationsPath+"/:invitation", policy.DropJoinInvitation, (*Server).dropJoinInvitation),
		reading(l, joinsPath, policy.ListJoins, (*Server).joins),
		approve,
		changing(l, http.MethodPost, joinsPath+"/:join/deny", policy.DecideJoin, (*Server).denyJoin),
		changing(l, http.MethodDelete, clusterPath+"/members/:member", policy.RemoveMember, (*Server).removeMember),
		changing(l, http.MethodPost, clusterPath+"/transfer", policy.TransferLeadership, (*Server).transferLeadership),
		reading(l, clusterPath+"/digest", policy.ReadDigest, (*Server).clusterDigest),
		changing(l, http.MethodPost, clusterPath+"/finalise", policy.FinaliseVersion, (*Server).finaliseVersion),
	}
}

// ending returns a row that deletes something and takes no body.
func ending(l Limits, path string, action policy.Action, handle func(*Server, *exchange) error) route {
	return route{method: http.MethodDelete, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
}

func (s *Server) cluster(x *exchange) error {
	status, err := s.config.Engine.ClusterStatus(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	ca := sha256.Sum256(status.Record.CACertificate)
	answer := wire.Cluster{
		ID: status.Record.ID, CreatedAt: milliseconds(status.Record.CreatedAt), CommandVersion: status.Record.Commands(),
		MasterKCV: hex.EncodeToString(status.Record.MasterKCV), CAFingerprint: hex.EncodeToString(ca[:]), Node: status.Node,
		Leader: status.Leader, Voters: status.Quorum.Voters, Healthy: status.Quorum.Healthy, Majority: status.Quorum.Majority,
		CanFail: status.Quorum.Spare(), FaultTolerance: status.FaultTolerance, Members: make([]wire.ClusterMember, 0, len(status.Members)),
	}
	for _, m := range status.Members {
		one := wireMember(m.Record)
		if n := m.Now; n != nil {
			one.Now = &wire.MemberState{
				Reachable: n.Reachable, Healthy: n.Healthy, Reason: n.Reason, Leader: n.ID == status.Leader, Voter: n.Voter,
				Applied: n.Applied, LastIndex: n.LastIndex, Term: n.Term, LeaseMS: n.Lease, SkewMS: n.Skew, LogWriteUS: n.LogWrite,
			}
		}
		answer.Members = append(answer.Members, one)
	}
	return x.answer(answer)
}

func wireMember(m *directory.Member) wire.ClusterMember {
	return wire.ClusterMember{
		ID: m.ID, Name: m.Name, Status: m.Status.String(), Address: m.Address, API: m.API, KeyFingerprint: hex.EncodeToString(m.Key[:]),
		JoinedAt: milliseconds(m.JoinedAt), RemovedAt: optionalTime(m.RemovedAt), CommandVersion: m.CommandVersion, Program: m.Program,
	}
}

func (s *Server) inviteMember(x *exchange) error {
	var in wire.InviteMemberRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	invitation, code, err := s.config.Engine.InviteMember(x.r.Context(), &x.call, time.Duration(in.ExpiresMinutes)*time.Minute)
	if err != nil {
		return err
	}
	text, err := code.Encode()
	if err != nil {
		return err
	}
	x.created(joinInvitationsPath + "/" + invitation.ID)
	return x.answer(wire.InvitedMember{JoinInvitation: wireJoinInvitation(invitation), Code: text})
}

func wireJoinInvitation(i *directory.JoinInvitation) wire.JoinInvitation {
	return wire.JoinInvitation{
		ID: i.ID, CreatedBy: i.CreatedBy, CreatedAt: milliseconds(i.CreatedAt), ExpiresAt: milliseconds(i.ExpiresAt),
	}
}

func (s *Server) joinInvitations(x *exchange) error {
	list, err := s.config.Engine.JoinInvitations(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.JoinInvitationsResponse{Invitations: make([]wire.JoinInvitation, 0, len(list))}
	for _, i := range list {
		answer.Invitations = append(answer.Invitations, wireJoinInvitation(i))
	}
	return x.answer(answer)
}

func (s *Server) dropJoinInvitation(x *exchange) error {
	if err := s.config.Engine.DropJoinInvitation(x.r.Context(), &x.call, x.params.ByName("invitation")); err != nil {
		return err
	}
	return x.answer(struct{}{})
}

func (s *Server) joins(x *exchange) error {
	list, err := s.config.Engine.Joins(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.JoinsResponse{Joins: make([]wire.Join, 0, len(list))}
	for i := range list {
		answer.Joins = append(answer.Joins, wireJoin(&list[i]))
	}
	return x.answer(answer)
}

// noProof is what whoever approves a key transfer must know: DESIGN section 7.2.
const noProof = "nothing proves that the join key is in a token: the fingerprint says whose key it is, and the node's own operator " +
	"must answer for where it is"

func wireJoin(info *engine.JoinInfo) wire.Join {
	j := info.Record
	out := wire.Join{
		ID: j.ID, State: j.State.String(), Fingerprint: info.Fingerprint, Node: j.Node, Name: j.Name, Address: j.Address, API: j.API,
		Method: string(j.Method), CommandVersion: j.CommandVersion, Program: j.Program, CreatedAt: milliseconds(j.CreatedAt),
		ExpiresAt: milliseconds(j.ExpiresAt), DecidedBy: j.DecidedBy, DecidedAt: optionalTime(j.DecidedAt), Warnings: []string{},
	}
	if j.Method == directory.JoinWrap && (j.State == directory.JoinWaiting || j.State == directory.JoinApproved) {
		out.Warnings = append(out.Warnings, noProof)
	}
	return out
}

func (x *exchange) answerJoin(info engine.JoinInfo, err error) error {
	if err != nil {
		return err
	}
	return x.answer(wireJoin(&info))
}

func (s *Server) approveJoin(x *exchange) error {
	var in wire.ApproveJoinRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	return x.answerJoin(s.config.Engine.ApproveJoin(x.r.Context(), &x.call, x.params.ByName("join"), in.Fingerprint))
}

// denyJoin takes no body, or an empty object.
func (s *Server) denyJoin(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	return x.answerJoin(s.config.Engine.DenyJoin(x.r.Context(), &x.call, x.params.ByName("join")))
}

func (s *Server) removeMember(x *exchange) error {
	var in wire.RemoveMemberRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	removed, err := s.config.Engine.RemoveMember(x.r.Context(), &x.call, x.params.ByName("member"), engine.RemovalSpec{
		Force: in.Force, Reason: in.Reason,
	})
	if err != nil {
		return err
	}
	return x.answer(wireMember(removed))
}

func (s *Server) transferLeadership(x *exchange) error {
	var in wire.TransferRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	if err := s.config.Engine.TransferLeadership(x.r.Context(), &x.call, in.To); err != nil {
		return err
	}
	return x.answer(struct{}{})
}

func (s *Server) clusterDigest(x *exchange) error {
	list, verdict, err := s.config.Engine.Digests(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.ClusterDigest{Agreement: string(verdict), Nodes: make([]wire.NodeDigest, 0, len(list))}
	for _, d := range list {
		one := wire.NodeDigest{ID: d.ID, Applied: d.Applied, Reason: d.Reason}
		if d.Reason == "" {
			one.Digest = hex.EncodeToString(d.Digest[:])
		}
		answer.Nodes = append(answer.Nodes, one)
	}
	return x.answer(answer)
}

func (s *Server) finaliseVersion(x *exchange) error {
	var in wire.FinaliseRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	record, err := s.config.Engine.FinaliseVersion(x.r.Context(), &x.call, in.Version)
	if err != nil {
		return err
	}
	return x.answer(wire.FinaliseResponse{CommandVersion: record.Commands()})
}
