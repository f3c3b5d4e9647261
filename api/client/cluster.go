package client

import (
	"context"
	"net/http"

	"cryptoserve/api/wire"
)

const clusterPath = "/api/v1/cluster"

// Cluster tells how the cluster and each of its nodes are, as the node that answers sees it.
func (c *Client) Cluster(ctx context.Context) (wire.Cluster, error) {
	return get[wire.Cluster](ctx, c, clusterPath)
}

// InviteMember makes a code with which one node may ask to join. It is not shown again. It is never repeated when the outcome of
// a try is unknown: call it again, and withdraw what JoinInvitations lists too many.
func (c *Client) InviteMember(ctx context.Context, req wire.InviteMemberRequest) (wire.InvitedMember, error) {
	return change[wire.InvitedMember](ctx, c, clusterPath+"/invitations", req)
}

// JoinInvitations lists the invitations to join that can still be used.
func (c *Client) JoinInvitations(ctx context.Context) ([]wire.JoinInvitation, error) {
	answer, err := get[wire.JoinInvitationsResponse](ctx, c, clusterPath+"/invitations")
	return answer.Invitations, err
}

// DropJoinInvitation takes an invitation to join back.
func (c *Client) DropJoinInvitation(ctx context.Context, id string) error {
	_, err := withPath("cluster/invitations", id, func(path string) (struct{}, error) {
		return act[struct{}](ctx, c, http.MethodDelete, path, nil)
	})
	return err
}

// Joins lists the nodes that asked to join.
func (c *Client) Joins(ctx context.Context) ([]wire.Join, error) {
	answer, err := get[wire.JoinsResponse](ctx, c, clusterPath+"/joins")
	return answer.Joins, err
}

// ApproveJoin lets a node join whose fingerprint, as the node itself shows it, is the one given: all of it, or at least its first 16
// hexadecimal digits.
func (c *Client) ApproveJoin(ctx context.Context, id, fingerprint string) (wire.Join, error) {
	return withPath("cluster/joins", id, func(path string) (wire.Join, error) {
		return change[wire.Join](ctx, c, path+"/approve", wire.ApproveJoinRequest{Fingerprint: fingerprint})
	})
}

// DenyJoin refuses a node.
func (c *Client) DenyJoin(ctx context.Context, id string) (wire.Join, error) {
	return withPath("cluster/joins", id, func(path string) (wire.Join, error) {
		return change[wire.Join](ctx, c, path+"/deny", nil)
	})
}

// RemoveMember removes a node for good. It answers when no node honours it any more.
func (c *Client) RemoveMember(ctx context.Context, id string, req wire.RemoveMemberRequest) (wire.ClusterMember, error) {
	return withPath("cluster/members", id, func(path string) (wire.ClusterMember, error) {
		return act[wire.ClusterMember](ctx, c, http.MethodDelete, path, req)
	})
}

// TransferLeadership has a node lead; empty is any that is up to date.
func (c *Client) TransferLeadership(ctx context.Context, to string) error {
	_, err := change[struct{}](ctx, c, clusterPath+"/transfer", wire.TransferRequest{To: to})
	return err
}

// ClusterDigest compares the states of the nodes.
func (c *Client) ClusterDigest(ctx context.Context) (wire.ClusterDigest, error) {
	return get[wire.ClusterDigest](ctx, c, clusterPath+"/digest")
}

// FinaliseVersion lets the cluster write commands of a version, and returns the newest that it may write.
func (c *Client) FinaliseVersion(ctx context.Context, version uint32) (uint32, error) {
	answer, err := change[wire.FinaliseResponse](ctx, c, clusterPath+"/finalise", wire.FinaliseRequest{Version: version})
	return answer.CommandVersion, err
}
