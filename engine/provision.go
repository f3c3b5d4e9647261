package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// ApplianceCall returns a call of the appliance itself in a tenant, for making a cluster and for its own duties.
func (e *Engine) ApplianceCall(requestID, tenant string) *Call {
	return &Call{
		Subject:   &policy.Subject{Kind: policy.KindAppliance, ID: "appliance", Tenant: tenant},
		RequestID: requestID,
		Start:     e.now(),
	}
}

// CreateCluster records a new cluster. It is the first entry of a log.
func (e *Engine) CreateCluster(ctx context.Context, c *Call, cluster directory.Cluster) error {
	cluster.CreatedAt = e.now().UnixMilli()
	cluster.CommandVersion = command.Newest() // nobody in it can be older yet
	return e.create(ctx, c, policy.CreateCluster, cluster.ID, func() (command.Command, error) {
		return command.CreateCluster{Cluster: cluster}, nil
	})
}

// CreateTenant makes a tenant with a new id.
func (e *Engine) CreateTenant(ctx context.Context, c *Call, name string) (*directory.Tenant, error) {
	t := &directory.Tenant{ID: "tenant_" + randomID(), Name: name, Status: directory.Enabled, CreatedAt: e.now().UnixMilli()}
	return t, e.create(ctx, c, policy.CreateTenant, t.ID, func() (command.Command, error) {
		return command.CreateTenant{Tenant: *t}, nil
	})
}

// StartSession records a session of a user of the caller's tenant.
func (e *Engine) StartSession(ctx context.Context, c *Call, session directory.Session) error {
	return e.create(ctx, c, policy.IssueToken, session.User, func() (command.Command, error) {
		if session.Tenant != c.Subject.Tenant {
			return nil, errNotAllowed
		}
		return command.CreateSession{Session: session}, nil
	})
}

func (e *Engine) create(ctx context.Context, c *Call, action policy.Action, resource string, build func() (command.Command, error)) error {
	r := c.begin(action)
	r.Resource = resource
	return e.change(ctx, c, &r, action, build)
}

// randomID returns 8 random bytes in hex.
func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
