package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/joincode"
)

const clusterPath = "/api/v1/cluster"

// clusterCases are the use cases of cluster.go, and what they can fail with.
func clusterCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	ones, abs := strings.Repeat("01", 32), strings.Repeat("ab", 32)
	active := wire.ClusterMember{
		ID: "node_1", Name: "host-1", Status: "active", Address: "192.0.2.1:8444", API: "192.0.2.1:8443", KeyFingerprint: ones,
		JoinedAt: newYearText("00"), CommandVersion: 2, Program: "1.0", Now: &wire.MemberState{
			Reachable: true, Healthy: true, Reason: "r", Leader: true, Voter: true, Applied: 7, LastIndex: 8, Term: 9, LeaseMS: 1500, SkewMS: -3,
			LogWriteUS: 400,
		},
	}
	removed := wire.ClusterMember{
		ID: "node_2", Name: "host-1", Status: "removed", Address: "192.0.2.1:8444", KeyFingerprint: ones, JoinedAt: newYearText("00"),
		RemovedAt: newYearText("01"), CommandVersion: 2,
	}
	join := wire.Join{
		ID: "join_1", State: "approved", Fingerprint: "ab00" + strings.Repeat(" 0000", 15), Node: "node_3", Name: "host-3",
		Address: "192.0.2.3:8444", API: "192.0.2.3:8443", Method: "wrap", CommandVersion: 2, Program: "1.0", CreatedAt: newYearText("00"),
		ExpiresAt: newYearText("02"), DecidedBy: "user_1", DecidedAt: newYearText("01"), Warnings: []string{
			"nothing proves that the join key is in a token: the fingerprint says whose key it is, and the node's own operator must answer for " +
				"where it is",
		},
	}
	denied := join
	denied.State, denied.Method, denied.API, denied.Program, denied.Warnings = "denied", "shared", "", "", []string{}
	invitation := wire.JoinInvitation{ID: "joincode_1", CreatedBy: "user_1", CreatedAt: newYearText("00"), ExpiresAt: newYearText("01")}
	code, err := fixedJoinCode().Encode()
	if err != nil {
		panic(err)
	}
	const invitations, joins, member = clusterPath + "/invitations", clusterPath + "/joins/join_1/", clusterPath + "/members/node_2"
	cases = map[string]useCase{
		"cluster": {"GET", clusterPath, nil, nil, 200, "", wire.Cluster{
			ID: "cluster_1", CreatedAt: newYearText("00"), CommandVersion: 2, MasterKCV: "0102030405060708",
			CAFingerprint: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Node: "node_1", Leader: "node_1", Voters: 3,
			Healthy: 1, Majority: 2, CanFail: -1, FaultTolerance: "it is well", Members: []wire.ClusterMember{active, removed},
		}},
		"inviteMember": {
			"POST", invitations, wire.InviteMemberRequest{ExpiresMinutes: 5}, 5 * time.Minute, 201, invitations + "/joincode_1",
			wire.InvitedMember{JoinInvitation: invitation, Code: code},
		},
		"listJoinInvitations": {"GET", invitations, nil, nil, 200, "", wire.JoinInvitationsResponse{Invitations: []wire.JoinInvitation{invitation}}},
		"dropJoinInvitation":  {"DELETE", invitations + "/joincode_1", nil, "joincode_1", 200, "", struct{}{}},
		"listJoins":           {"GET", clusterPath + "/joins", nil, nil, 200, "", wire.JoinsResponse{Joins: []wire.Join{join, denied}}},
		"approveJoin":         {"POST", joins + "approve", wire.ApproveJoinRequest{Fingerprint: "ab00"}, []any{"join_1", "ab00"}, 200, "", join},
		"denyJoin":            {"POST", joins + "deny", struct{}{}, "join_1", 200, "", join},
		"removeMember": {
			"DELETE", member, wire.RemoveMemberRequest{Force: true, Reason: "dead"},
			[]any{"node_2", engine.RemovalSpec{Force: true, Reason: "dead"}}, 200, "", removed,
		},
		"transferLeadership": {"POST", clusterPath + "/transfer", wire.TransferRequest{To: "node_1"}, "to node_1", 200, "", struct{}{}},
		"clusterDigest": {"GET", clusterPath + "/digest", nil, nil, 200, "", wire.ClusterDigest{Agreement: "unknown", Nodes: []wire.NodeDigest{
			{ID: "node_1", Applied: 7, Digest: abs}, {ID: "node_2", Reason: "it does not answer"},
		}}},
		"finaliseVersion": {
			"POST", clusterPath + "/finalise", wire.FinaliseRequest{Version: 3}, uint32(3), 200, "", wire.FinaliseResponse{CommandVersion: 3},
		},
	}
	fail = map[string]map[int]fault.Kind{
		"cluster": reading, "inviteMember": changing, "listJoinInvitations": reading, "dropJoinInvitation": changingOne, "listJoins": reading,
		"approveJoin": changingOne, "denyJoin": changingOne, "removeMember": changingOne, "transferLeadership": changingOne,
		"clusterDigest": reading, "finaliseVersion": changing,
	}
	return cases, fail
}

// TestClusterWithoutBodies: what needs no fields needs no body.
func TestClusterWithoutBodies(t *testing.T) {
	f := newFixture(t)
	for path, got := range map[string]any{
		"POST /invitations": time.Duration(0), "POST /transfer": "to ", "POST /joins/join_1/deny": "join_1",
		"DELETE /members/node_2": []any{"node_2", engine.RemovalSpec{}},
	} {
		method, path, _ := strings.Cut(path, " ")
		a := f.do(t, method, clusterPath+path, "")
		given, err := json.Marshal(f.engine.got)
		want, wantErr := json.Marshal(got)
		if a.StatusCode >= 300 || err != nil || wantErr != nil || string(given) != string(want) {
			t.Errorf("%s: %s: the engine was asked for %s", path, a.Status, given)
		}
	}
}

// TestInvitationCodeIsOfTheEngine: what the operator gets is what a new node can read.
func TestInvitationCodeIsOfTheEngine(t *testing.T) {
	f := newFixture(t)
	a := f.do(t, "POST", clusterPath+"/invitations", "")
	var got wire.InvitedMember
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	code, err := joincode.Parse(got.Code)
	if err != nil || code.Secret != fixedJoinCode().Secret || code.Fingerprint != fixedJoinCode().Fingerprint {
		t.Errorf("%+v, %v", code, err)
	}
}
