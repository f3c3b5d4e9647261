package api_test

import (
	"bytes"
	"context"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/joincode"
)

func fixedMember() *directory.Member {
	return &directory.Member{
		ID: "node_1", Name: "host-1", Address: "192.0.2.1:8444", Key: [32]byte(bytes.Repeat([]byte{1}, 32)), Status: directory.MemberActive,
		API: "192.0.2.1:8443", JoinedAt: newYear, CommandVersion: 2, Program: "1.0",
	}
}

// removedMember is one that has been removed.
func removedMember() *directory.Member {
	m := fixedMember()
	m.ID, m.Status, m.RemovedAt, m.API, m.Program = "node_2", directory.MemberRemoved, newYear+1000, "", ""
	return m
}

func fixedJoin() engine.JoinInfo {
	j := &directory.Join{
		ID: "join_1", Node: "node_3", Name: "host-3", Address: "192.0.2.3:8444", API: "192.0.2.3:8443", Method: directory.JoinWrap,
		CommandVersion: 2, Program: "1.0", State: directory.JoinApproved, CreatedAt: newYear, ExpiresAt: newYear + 2000, DecidedBy: "user_1",
		DecidedAt: newYear + 1000,
	}
	return engine.JoinInfo{Record: j, Fingerprint: directory.FormatFingerprint([32]byte{0xab})}
}

func fixedJoinInvitation() *directory.JoinInvitation {
	return &directory.JoinInvitation{ID: "joincode_1", CreatedBy: "user_1", CreatedAt: newYear, ExpiresAt: newYear + 1000}
}

func fixedJoinCode() *joincode.Code {
	return &joincode.Code{Addresses: []string{"192.0.2.1:8444"}, ClusterID: "cluster_1", Secret: joincode.Secret{1}, Fingerprint: [32]byte{2}}
}

func (s *standIn) ClusterStatus(_ context.Context, c *engine.Call) (*engine.ClusterStatus, error) {
	return with(s, c, nil, &engine.ClusterStatus{
		Record: &directory.Cluster{ID: "cluster_1", CreatedAt: newYear, MasterKCV: []byte{1, 2, 3, 4, 5, 6, 7, 8}, CommandVersion: 2},
		Node:   "node_1", Leader: "node_1", FaultTolerance: "it is well",
		Quorum: engine.Quorum{Voters: 3, Healthy: 1, Majority: 2},
		Members: []engine.MemberInfo{
			{Record: fixedMember(), Now: &directory.NodeStatus{
				ID: "node_1", Reachable: true, Healthy: true, Reason: "r", Voter: true, Applied: 7, LastIndex: 8, Term: 9, Lease: 1500, Skew: -3,
				LogWrite: 400,
			}},
			{Record: removedMember()},
		},
	})
}

func (s *standIn) InviteMember(
	_ context.Context, c *engine.Call, lifetime time.Duration,
) (*directory.JoinInvitation, *joincode.Code, error) {
	i, err := with(s, c, lifetime, fixedJoinInvitation())
	return i, fixedJoinCode(), err
}

func (s *standIn) JoinInvitations(_ context.Context, c *engine.Call) ([]*directory.JoinInvitation, error) {
	return with(s, c, nil, []*directory.JoinInvitation{fixedJoinInvitation()})
}

func (s *standIn) DropJoinInvitation(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

func (s *standIn) Joins(_ context.Context, c *engine.Call) ([]engine.JoinInfo, error) {
	denied := fixedJoin()
	denied.Record.State, denied.Record.Method, denied.Record.API, denied.Record.Program = directory.JoinDenied, directory.JoinShared, "", ""
	return with(s, c, nil, []engine.JoinInfo{fixedJoin(), denied})
}

func (s *standIn) ApproveJoin(_ context.Context, c *engine.Call, id, fingerprint string) (engine.JoinInfo, error) {
	return with(s, c, []any{id, fingerprint}, fixedJoin())
}

func (s *standIn) DenyJoin(_ context.Context, c *engine.Call, id string) (engine.JoinInfo, error) {
	return with(s, c, id, fixedJoin())
}

func (s *standIn) RemoveMember(_ context.Context, c *engine.Call, id string, in engine.RemovalSpec) (*directory.Member, error) {
	return with(s, c, []any{id, in}, removedMember())
}

func (s *standIn) TransferLeadership(_ context.Context, c *engine.Call, to string) error {
	return s.note(c, "to "+to)
}

func (s *standIn) Digests(_ context.Context, c *engine.Call) ([]directory.NodeDigest, engine.Agreement, error) {
	list, err := with(s, c, nil, []directory.NodeDigest{
		{ID: "node_1", Applied: 7, Digest: [32]byte(bytes.Repeat([]byte{0xab}, 32))}, {ID: "node_2", Reason: "it does not answer"},
	})
	return list, engine.Unknown, err
}

func (s *standIn) FinaliseVersion(_ context.Context, c *engine.Call, version uint32) (*directory.Cluster, error) {
	return with(s, c, version, &directory.Cluster{CommandVersion: version})
}
