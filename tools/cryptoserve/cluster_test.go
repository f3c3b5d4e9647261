package main

import "strings"

// The stand-in's cluster: node_1 leads, node_2 is away, node_3 is catching up, node_4 was removed.
var (
	cannedMember = func(id, status, now string) string {
		return `{"id":"` + id + `","name":"host-` + id[5:] + `","status":"` + status + `","address":"192.0.2.1:8444","key_fingerprint":"` +
			strings.Repeat("01", 32) + `","joined_at":"2031-01-01T00:00:00Z","command_version":2` + now + `}`
	}
	cannedNow = func(reachable, leader, voter, lease, reason string) string {
		return `,"now":{"reachable":` + reachable + `,"healthy":` + reachable + `,"leader":` + leader + `,"voter":` + voter +
			`,"applied":77,"last_index":78,"term":3,"lease_ms":` + lease + `,"skew_ms":1,"log_write_us":900` + reason + `}`
	}
	cannedCluster = `{"id":"cluster_1","created_at":"2031-01-01T00:00:00Z","command_version":2,"master_kcv":"0102","ca_fingerprint":"0304",` +
		`"node":"node_1","leader":"node_1","voters":3,"healthy":2,"majority":2,"can_fail":0,` +
		`"fault_tolerance":"2 of 3 nodes answer: one more failure stops writes","members":[` + strings.Join([]string{
		cannedMember("node_1", "active", cannedNow("true", "true", "true", "1500", "")),
		cannedMember("node_2", "active", cannedNow("false", "false", "true", "0", `,"reason":"refused \u001b[31mred"`)),
		cannedMember("node_3", "active", cannedNow("true", "false", "false", "-1", "")),
		cannedMember("node_4", "removed", `,"removed_at":"2031-01-02T00:00:00Z"`),
	}, ",") + `]}`
	cannedJoin = `{"id":"join_1","state":"waiting","fingerprint":"0123 4567","node":"node_5","name":"host-5","address":"192.0.2.5:8444",` +
		`"method":"wrap","command_version":2,"created_at":"2031-01-01T00:00:00Z","expires_at":"2031-01-02T00:00:00Z",` +
		`"decided_by":"user_1","decided_at":"2031-01-01T01:00:00Z","warnings":["nothing proves it"]}`
)

func init() {
	cannedOf = append(cannedOf, map[string]string{
		"GET /api/v1/cluster": cannedCluster,
		"POST /api/v1/cluster/invitations": `{"id":"joincode_1","created_by":"user_1","created_at":"2031-01-01T00:00:00Z",` +
			`"expires_at":"2031-01-01T01:00:00Z","code":"csj1_AAAA"}`,
		"GET /api/v1/cluster/invitations": `{"invitations":[{"id":"joincode_1","created_by":"user_1",` +
			`"created_at":"2031-01-01T00:00:00Z","expires_at":"2031-01-01T01:00:00Z"}]}`,
		"DELETE /api/v1/cluster/invitations/joincode_1": `{}`,
		"GET /api/v1/cluster/joins":                     `{"joins":[` + cannedJoin + `]}`,
		"POST /api/v1/cluster/joins/join_1/approve":     cannedJoin,
		"POST /api/v1/cluster/joins/join_1/deny":        cannedJoin,
		"DELETE /api/v1/cluster/members/node_2":         cannedMember("node_2", "removed", `,"removed_at":"2031-01-02T00:00:00Z"`),
		"POST /api/v1/cluster/transfer":                 `{}`,
		"GET /api/v1/cluster/digest": `{"agreement":"different","nodes":[{"id":"node_1","applied":7,"digest":"aa"},` +
			`{"id":"node_2","applied":7,"digest":"bb"},{"id":"node_3","applied":0,"reason":"it does not answer"}]}`,
		"POST /api/v1/cluster/finalise": `{"command_version":3}`,
	})
}
