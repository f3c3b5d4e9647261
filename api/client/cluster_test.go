package client

import (
	"context"
	"net/http"
	"testing"

	"cryptoserve/api/wire"
)

// clusterRoutes are the methods of cluster.go, for TestRoutes.
var clusterRoutes = []routeTest{
	{"cluster", func(ctx context.Context, c *Client) (any, error) { return c.Cluster(ctx) },
		`GET /api/v1/cluster `, `{"id":"c"}`, true},
	{"invite a node", func(ctx context.Context, c *Client) (any, error) {
		return c.InviteMember(ctx, wire.InviteMemberRequest{ExpiresMinutes: 5})
	}, `POST /api/v1/cluster/invitations {"expires_minutes":5}`, `{"code":"csj1_x"}`, false},
	{"invitations to join", func(ctx context.Context, c *Client) (any, error) { return c.JoinInvitations(ctx) },
		`GET /api/v1/cluster/invitations `, `{"invitations":[{}]}`, true},
	{"withdraw an invitation to join", func(ctx context.Context, c *Client) (any, error) { return nil, c.DropJoinInvitation(ctx, "i/1") },
		`DELETE /api/v1/cluster/invitations/i%2F1 `, `{}`, false},
	{"joins", func(ctx context.Context, c *Client) (any, error) { return c.Joins(ctx) },
		`GET /api/v1/cluster/joins `, `{"joins":[{}]}`, true},
	{"approve a node", func(ctx context.Context, c *Client) (any, error) { return c.ApproveJoin(ctx, "j/1", "ab") },
		`POST /api/v1/cluster/joins/j%2F1/approve {"fingerprint":"ab"}`, `{}`, false},
	{"deny a node", func(ctx context.Context, c *Client) (any, error) { return c.DenyJoin(ctx, "j") },
		`POST /api/v1/cluster/joins/j/deny `, `{}`, false},
	{"remove a node", func(ctx context.Context, c *Client) (any, error) {
		return c.RemoveMember(ctx, "n", wire.RemoveMemberRequest{Force: true, Reason: "r"})
	}, `DELETE /api/v1/cluster/members/n {"force":true,"reason":"r"}`, `{}`, false},
	{"transfer", func(ctx context.Context, c *Client) (any, error) { return nil, c.TransferLeadership(ctx, "") },
		`POST /api/v1/cluster/transfer {}`, `{}`, false},
	{"digest", func(ctx context.Context, c *Client) (any, error) { return c.ClusterDigest(ctx) },
		`GET /api/v1/cluster/digest `, `{"agreement":"equal"}`, true},
	{"finalise", func(ctx context.Context, c *Client) (any, error) { return c.FinaliseVersion(ctx, 2) },
		`POST /api/v1/cluster/finalise {"version":2}`, `{"command_version":2}`, false},
}

func TestNodesNeedAnID(t *testing.T) {
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	ctx := t.Context()
	_, approve := c.ApproveJoin(ctx, "", "ab")
	_, deny := c.DenyJoin(ctx, "..")
	_, remove := c.RemoveMember(ctx, "", wire.RemoveMemberRequest{})
	for name, err := range map[string]error{"approve": approve, "deny": deny, "remove": remove, "drop": c.DropJoinInvitation(ctx, "")} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
